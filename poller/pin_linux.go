package poller

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Pin binds the goroutine that calls it to a thread, and the thread to one of the processors it may use: number i,
// counted round where there are fewer. The goroutine must not be unbound: its thread ends with it.
func Pin(i int) error {
	runtime.LockOSThread()
	var may, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return fmt.Errorf("sched_getaffinity: %w", err)
	}
	n := may.Count()
	if n == 0 {
		return errors.New("sched_getaffinity: no processor")
	}
	left := i % n
	for cpu := range len(may) * bitsOfWord {
		if !may.IsSet(cpu) {
			continue
		}
		if left == 0 {
			one.Set(cpu)
			break
		}
		left--
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("sched_setaffinity: %w", err)
	}
	return nil
}

const bitsOfWord = 64 // of a CPUSet
