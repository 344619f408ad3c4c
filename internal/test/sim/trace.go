package sim

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/poller"
)

// Calls counts the calls of a kernel by kind.
type Calls struct {
	Now, Wait, Wake, Listen, Accept, Connect, SockError, LocalAddr int
	Read, Write, Writev, Add, Del, CloseWrite, Close, Reset        int
	Pipe, Splice, SendFile, SetIntake, Adopt, Duplicate, AckNow    int
	ReadBatch, WriteBatch                                          int
}

// Minus returns what was called since before.
func (c Calls) Minus(before Calls) Calls {
	return Calls{
		Now: c.Now - before.Now, Wait: c.Wait - before.Wait, Wake: c.Wake - before.Wake,
		Listen: c.Listen - before.Listen, Accept: c.Accept - before.Accept, Connect: c.Connect - before.Connect,
		SockError: c.SockError - before.SockError, LocalAddr: c.LocalAddr - before.LocalAddr,
		Read: c.Read - before.Read, Write: c.Write - before.Write, Writev: c.Writev - before.Writev,
		Add: c.Add - before.Add, Del: c.Del - before.Del,
		CloseWrite: c.CloseWrite - before.CloseWrite, Close: c.Close - before.Close, Reset: c.Reset - before.Reset,
		Pipe: c.Pipe - before.Pipe, Splice: c.Splice - before.Splice, SendFile: c.SendFile - before.SendFile,
		SetIntake: c.SetIntake - before.SetIntake, Adopt: c.Adopt - before.Adopt,
		Duplicate: c.Duplicate - before.Duplicate, AckNow: c.AckNow - before.AckNow,
		ReadBatch: c.ReadBatch - before.ReadBatch, WriteBatch: c.WriteBatch - before.WriteBatch,
	}
}

// IO is the number of calls that moved bytes, or tried to.
func (c Calls) IO() int {
	return c.Read + c.Write + c.Writev + c.Splice + c.SendFile + c.ReadBatch + c.WriteBatch
}

// trace keeps the latest calls, for Dump.
type trace struct {
	ring [traceMax]record
	n    int
}

const traceMax = 48

type record struct {
	at     int64
	kernel int
	call   string
	fd     poller.FD
	n      int
	errno  syscall.Errno
}

func (t *trace) add(k *Kernel, call string, fd poller.FD, n int, errno syscall.Errno) {
	t.ring[t.n%traceMax] = record{k.w.now, k.index, call, fd, n, errno}
	t.n++
}

func (t *trace) dump(b *strings.Builder) {
	for i := max(0, t.n-traceMax); i < t.n; i++ {
		r := &t.ring[i%traceMax]
		fmt.Fprintf(b, "  %12v  kernel %d  %s fd %d = %d", time.Duration(r.at-clockStart), r.kernel, r.call, r.fd, r.n)
		if r.errno != 0 {
			fmt.Fprintf(b, " %s", r.errno.Error())
		}
		b.WriteByte('\n')
	}
}
