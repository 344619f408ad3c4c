// Package content gives exchanges bodies that are in files, without a copy where the kernel can, and without a wait for
// the disk: pages that are not in memory are read ahead beside the reactors.
//
//	Source.Read ─► Stream ─┬ Ready:  OnFile (sendfile), or a piece by OnData where that cannot be
//	                       └ not so: Loads ─► Load ─► Stream
//
// A Body is a whole file (File), or a part of one, as package cache has bodies. It has references, since it may leave
// its owner while it is sent: each answer holds one until its end.
//
// A connection is given 256 KiB of a File in its turn, and by OnData 64 KiB, once it has taken the last bytes. As many
// goroutines read as a disk does at a time, 64; the others wait in line. Where 1024 wait, nothing is begun that has to
// wait as well: see Loads.Full.
//
// A body that cannot be read, or has become shorter, ends its answer: the client sees that it is not whole.
//
// A Source and its streams belong to one reactor. Everything else is for any goroutine.
package content
