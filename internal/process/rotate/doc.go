// Package rotate renames logs that have become large or old, compresses what was renamed, and removes the oldest.
//
// It is not an output: it knows paths and files, not what writes there. The writers go on with the renamed file until
// they are told to open the path again, so no line is lost between.
//
//	Look: access.log ──rename──► access.log.20261122T060000.000Z        the caller makes writers open access.log again
//	Settle: where no writer could, the name is given back
//	Tidy: the oldest beyond keep and keep_for are removed, access.log.20261122T060000.000Z ──► ….zst or ….gz
//
// # Configuration
//
// The keys of [log] that begin with rotate are this package's: Of returns them.
//
// # Threads and ownership
//
// A Rotator belongs to one goroutine. Tidy may run on another one, once at a time: it looks only at files that have
// been renamed. Compressing takes a fifth of one processor at most.
//
// # Failures
//
// A folder in which the process may not rename leaves the log as it is; Look returns the error of each path once a
// minute. A folder that is gone has nothing to rename or to compress. On a full disk the oldest files are removed
// first; what there is no room to compress stays whole, for the next Tidy. What a process that was killed has left half
// compressed is removed, and compressed again. Several processes may do so at once, as after an upgrade: flock(2) on a
// file that was renamed says that one compresses it, and a lease, see fcntl(2), whether one still writes to it.
package rotate
