// Package handover carries the protocol of package upgrade between two processes: frames with descriptors over a Unix
// socket, memory files, the socket at upgrade_sock; and it drives the machine of either side.
//
// It knows nothing of a server: OldProcess and NewProcess are what it asks for. internal/process implements them.
//
//	OldSide.Run ── upgrade.Old ── Channel ═══ SOCK_SEQPACKET ═══ Channel ── upgrade.New ── NewSide
//	     │                                                                                  │
//	   OldProcess: Suspend, Yield, Batches, Resume …                 NewProcess: Accept, TakeNames, Receive
//
// # Who may take part
//
// A channel is a pair of sockets, one of which a child was started with, or comes from the socket at upgrade_sock,
// which has the mode 0600. There SO_PEERCRED has to name the own user or root. The process at the other end is held
// by a pidfd.
//
// # Descriptors
//
// All are closed on exec. The sender keeps its copies open. A receiver with too few free descriptors gets fewer than
// were sent, the first ones (MSG_CTRUNC): the machines compare the numbers. Content travels in sealed memory files.
//
// # Threads and limits
//
// OldSide.Run belongs to the goroutine that calls it, and calls the OldProcess from there. NewSide has a goroutine of
// its own, which calls the NewProcess. Each side has another goroutine that receives; both end with the channel.
package handover
