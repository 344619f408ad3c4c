package proxybench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// The kernel's clock of another process: ^pid<<3 | CPUCLOCK_SCHED.
	clockSched = 2
	// USER_HZ, what /proc/<pid>/stat counts in, is 100 on every architecture that Go runs on.
	userHz = 100
)

var errProcFormat = errors.New("unexpected format")

// cpuTime is the user and system time that the processes have used.
func cpuTime(pids []int) (time.Duration, error) {
	var total time.Duration
	for _, pid := range pids {
		d, err := processTime(pid)
		if err != nil {
			return 0, fmt.Errorf("cpu time of process %d: %w", pid, err)
		}
		total += d
	}
	return total, nil
}

// processTime asks the kernel's clock of the process: nanoseconds, threads that are gone included. Where a sandbox
// forbids that it reads stat: hundredths of a second.
func processTime(pid int) (time.Duration, error) {
	var ts unix.Timespec
	if unix.ClockGettime(int32(^pid<<3|clockSched), &ts) == nil {
		return time.Duration(ts.Nano()), nil
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	s, err := parseStat(stat)
	return s.cpu, err
}

// stat is what is used of /proc/<pid>/stat.
type stat struct {
	parent int
	cpu    time.Duration
}

// parseStat reads the fields after the command, which is in brackets and may hold anything.
func parseStat(b []byte) (stat, error) {
	const parentField, userField, systemField = 1, 11, 12
	end := bytes.LastIndexByte(b, ')')
	if end < 0 {
		return stat{}, fmt.Errorf("stat: %w", errProcFormat)
	}
	fields := bytes.Fields(b[end+1:])
	if len(fields) <= systemField {
		return stat{}, fmt.Errorf("stat: %w", errProcFormat)
	}
	var numbers [3]int64
	for i, at := range []int{parentField, userField, systemField} {
		n, err := strconv.ParseInt(string(fields[at]), 10, 64)
		if err != nil {
			return stat{}, fmt.Errorf("stat: %w", err)
		}
		numbers[i] = n
	}
	ticks := time.Duration(numbers[1] + numbers[2])
	return stat{parent: int(numbers[0]), cpu: ticks * time.Second / userHz}, nil
}

// processTree returns root and all that descend from it.
func processTree(root int) []int {
	children := make(map[int][]int)
	paths, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		if s, err := parseStat(b); err == nil {
			children[s.parent] = append(children[s.parent], pid)
		}
	}
	tree := []int{root}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i]]...)
	}
	return tree
}

// Memory is what processes occupy, in KiB, summed.
type Memory struct {
	RSS  int `json:"rss_kib"`
	Peak int `json:"peak_rss_kib"`
}

func memoryOf(pids []int) Memory {
	var m Memory
	for _, pid := range pids {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		m.RSS += kibField(status, "VmRSS:")
		m.Peak += kibField(status, "VmHWM:")
	}
	return m
}

// kibField finds "name   1234 kB"; what is not there counts as 0.
func kibField(b []byte, name string) int {
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			n, _ := strconv.Atoi(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte("kB")))))
			return n
		}
	}
	return 0
}

// KeepAwake computes until ctx ends, whenever its CPU has nothing else to do. To wake a CPU that sleeps costs the peer
// that sends, and the same load over another protocol lets it sleep at other times.
func KeepAwake(ctx context.Context) error {
	runtime.LockOSThread() // and never unlocked: a thread of this class must not run anything else
	idle := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}
	if err := unix.SchedSetAttr(0, idle, 0); err != nil {
		return fmt.Errorf("scheduling class idle: %w", err)
	}
	var over atomic.Bool
	defer context.AfterFunc(ctx, func() { over.Store(true) })()
	for !over.Load() {
	}
	return nil
}
