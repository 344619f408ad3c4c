package proxybench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	readyTimeout = 10 * time.Second
	startTimeout = 2 * time.Minute // Caddy takes 40 s to read a file of 10,000 sites
	stopTimeout  = 2 * time.Second
	pollEvery    = 10 * time.Millisecond
	tailBytes    = 500
)

var errExited = errors.New("the process has ended")

// process is a child with its process group. Owned by the runner; stop is safe for any goroutine.
type process struct {
	name   string
	cmd    *exec.Cmd
	output string        // file with what it printed
	done   chan struct{} // closed when it has ended
	stop   func()
}

// startOn starts argv on some CPUs, its output into a file in dir.
func startOn(name string, argv []string, cpus []int, dir string, env ...string) (*process, error) {
	out, err := os.CreateTemp(dir, name+"-*.out")
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(argv[0], argv[1:]...)
	// In XDG_RUNTIME_DIR the first edge would have an admin surface, and the others none.
	cmd.Env = append(append(os.Environ(), "XDG_RUNTIME_DIR=/nonexistent"), env...)
	cmd.Stdout, cmd.Stderr = out, out
	// A group of its own: an interrupt at the terminal comes to us alone, and stop reaches workers.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := startPinned(cmd, cpus); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, output: out.Name(), done: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(p.done)
	}()
	p.stop = sync.OnceFunc(p.terminate)
	return p, nil
}

// startPinned starts cmd on cpus: a child inherits the CPUs of the thread that makes it.
func startPinned(cmd *exec.Cmd, cpus []int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, only unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("sched_getaffinity: %w", err)
	}
	for _, cpu := range cpus {
		only.Set(cpu)
	}
	if err := unix.SchedSetaffinity(0, &only); err != nil {
		return fmt.Errorf("pin to CPUs %v: %w", cpus, err)
	}
	defer func() { _ = unix.SchedSetaffinity(0, &before) }()
	return cmd.Start()
}

// terminate asks the group to end, then makes it.
func (p *process) terminate() {
	group := -p.cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
	}
	// The leader may be gone and a worker not.
	_ = syscall.Kill(group, syscall.SIGKILL)
	<-p.done
}

// interrupt sends SIGINT and waits for the end of the process: a load generator prints then.
func (p *process) interrupt(ctx context.Context) error {
	_ = p.cmd.Process.Signal(os.Interrupt)
	return p.wait(ctx, readyTimeout)
}

// wait waits for the end of the process, which has to come in time.
func (p *process) wait(ctx context.Context, most time.Duration) error {
	if err := p.until(ctx, most); err != nil {
		return err
	}
	if p.alive() {
		p.stop()
		return fmt.Errorf("%s did not end: %s", p.name, p.tail())
	}
	return nil
}

// until waits for the end of the process, or for so long.
func (p *process) until(ctx context.Context, most time.Duration) error {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
	case <-p.done:
	}
	return nil
}

// waitReady asks addr for /small until it is answered.
func (p *process) waitReady(ctx context.Context, addr string) error {
	return p.poll(ctx, func() error { return probe(addr) })
}

func (p *process) waitPrinted(ctx context.Context, text string) error {
	return p.poll(ctx, func() error {
		if !strings.Contains(p.printed(), text) {
			return fmt.Errorf("it has not printed %q", text)
		}
		return nil
	})
}

// poll waits until ready has no error.
func (p *process) poll(ctx context.Context, ready func() error) error {
	for last := time.Now().Add(startTimeout); ; {
		err := ready()
		switch {
		case err == nil:
			return nil
		case !p.alive():
			return fmt.Errorf("%s: %w: %s", p.name, errExited, p.tail())
		case time.Now().After(last):
			return fmt.Errorf("%s is not ready: %w: %s", p.name, err, p.tail())
		}
		if err := p.until(ctx, pollEvery); err != nil {
			return err
		}
	}
}

func probe(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fprintf(c, "GET /small HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", addr); err != nil {
		return err
	}
	all, err := io.ReadAll(io.LimitReader(c, 4<<10))
	if !bytes.HasPrefix(all, []byte("HTTP/1.1 200")) {
		return errors.Join(fmt.Errorf("answer %.60q", all), err)
	}
	return nil
}

var errNotBound = errors.New("it has not bound its UDP port")

// boundUDP returns an error as long as nobody has the UDP port.
func boundUDP(addr string) error {
	c, err := net.ListenPacket("udp4", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil
	case err != nil:
		return err
	}
	_ = c.Close()
	return errNotBound
}

func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *process) printed() string {
	b, _ := os.ReadFile(filepath.Clean(p.output))
	return string(b)
}

func (p *process) tail() string {
	s := strings.TrimSpace(p.printed())
	return s[max(0, len(s)-tailBytes):]
}

// freeAddrs asks the kernel for n addresses that nobody uses. Their IP address, one of the loopback's, belongs to this
// process alone: until the process that is told to listen there has started, no other process is given the port.
func freeAddrs(n int) ([]string, error) {
	pid := os.Getpid()
	own := fmt.Sprintf("127.%d.%d.%d:0", 65+pid>>16&0x3f, pid>>8&0xff, pid&0xff)
	addrs := make([]string, n)
	for i := range addrs {
		l, err := net.Listen("tcp4", own)
		if err != nil {
			return nil, fmt.Errorf("free port: %w", err)
		}
		defer func() { _ = l.Close() }()
		addrs[i] = l.Addr().String()
	}
	return addrs, nil
}

func allowedCPUs() []int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return []int{0}
	}
	var cpus []int
	for cpu := 0; len(cpus) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus
}

// descriptorsSpare is how many descriptors a process needs beside the sockets of its connections.
const descriptorsSpare = 100

// raiseDescriptors lets each process have as many descriptors as the system allows, ours and those that it starts, and
// returns how many.
func raiseDescriptors() uint64 {
	var most syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &most) != nil {
		return 0
	}
	most.Cur = most.Max
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &most) // else the runtime gives children what it was given
	return most.Max
}
