package battery

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// descriptors is how many edge may open in the test below.
const descriptors = 64

// cpuTime is what a process has used so far.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	b := testutil.ReadFile(t, fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ") // proc(5): the name may hold anything but the last parenthesis
	fields := strings.Fields(rest)
	ticks := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		testutil.Must(t, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// Out of descriptors, edge leaves connections where they wait, does not spin, and goes on when there are some again.
func TestMachine_outOfDescriptors(t *testing.T) {
	edge := testutil.Binary(t, "./cmd/edge")
	o := newOrigin(t)
	file := writeConfig(t, backendAt(o.addr), "", "")
	p := testutil.Start(t, testutil.Command{
		Path: "/bin/sh", Args: []string{"-c", fmt.Sprintf("ulimit -n %d; exec %q run -c %q", descriptors, edge, file)},
	})
	l := &lane{Process: p, origin: o, edge: p.WaitLine(`"msg":"listening".*"address":"([^"]+)"`)[1]}
	testutil.Must(t, l.victim("before"))
	var held []net.Conn
	for range 2 * descriptors {
		c, err := net.Dial("tcp", l.edge)
		testutil.Must(t, err)
		defer c.Close()
		fmt.Fprint(c, "GET") // TCP_DEFER_ACCEPT waits for it
		held = append(held, c)
	}
	full := func() bool {
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", l.PID()))
		return err == nil && len(open) >= descriptors/2 // the others are for backends
	}
	testutil.Eventually(t, testutil.Patience, full, "clients have few descriptors")
	begun, used := time.Now(), cpuTime(t, l.PID())
	late := make(chan error, 1)
	go func() { late <- l.victim("late") }() // it waits until a descriptor is free
	testutil.Eventually(t, testutil.Patience, func() bool { return time.Since(begun) > time.Second }, "a second")
	if d := cpuTime(t, l.PID()) - used; d > 300*time.Millisecond {
		t.Errorf("%v of processor time in a second with nothing to do", d)
	}
	if len(late) > 0 || !full() {
		t.Fatalf("it was never full: %v", <-late)
	}
	for _, c := range held {
		c.Close()
	}
	if err := <-late; err != nil {
		t.Error(err)
	}
	if err := l.victim("after"); err != nil {
		t.Error(err)
	}
}
