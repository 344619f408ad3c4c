package admin

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"time"
)

// The time of a profile over a time, in seconds. Package net/http/pprof is not used, since it registers itself with the
// server that a program may have for other things.
const (
	profileTime = 30
	profileMost = 60
)

// memoryRate is how many bytes are allocated for each sample in the profile of memory: what the runtime has of its own.
const memoryRate = 512 << 10

// ProfileMemory makes the runtime sample allocations, for the profiles heap and allocs, or not. It does by itself: each
// sample brings tables of the program into memory, about half a MiB by the time that a proxy serves. A rate that
// GODEBUG=memprofilerate has set stays. It is for main, as early as possible; pprof of [admin] turns sampling on.
func ProfileMemory(on bool) {
	switch {
	case on && runtime.MemProfileRate == 0:
		runtime.MemProfileRate = memoryRate
	case !on && runtime.MemProfileRate == memoryRate:
		runtime.MemProfileRate = 0
	}
}

func serveProfile(_ *Surfaces, w http.ResponseWriter, r *http.Request) {
	seconds, err := numberOf(r, "seconds", profileTime, 0, profileMost)
	if err == nil {
		var debug int
		if debug, err = numberOf(r, "debug", 0, 0, 2); err == nil {
			err = writeProfile(w, r, time.Duration(seconds)*time.Second, debug)
		}
	}
	if err != nil {
		writeProblem(w, err)
	}
}

// writeProfile writes the profile that r names. After an error nothing is written.
func writeProfile(w http.ResponseWriter, r *http.Request, d time.Duration, debug int) error {
	name := r.PathValue("profile")
	measured, kind := pprof.Lookup(name), "application/octet-stream"
	if measured != nil && debug > 0 {
		kind = "text/plain; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d + writeTime))
	switch {
	case name == "profile":
		if err := pprof.StartCPUProfile(w); err != nil {
			return fmt.Errorf("%w: %w", ErrConflict, err)
		}
		wait(r.Context(), d)
		pprof.StopCPUProfile()
	case name == "trace":
		if err := trace.Start(w); err != nil {
			return fmt.Errorf("%w: %w", ErrConflict, err)
		}
		wait(r.Context(), d)
		trace.Stop()
	case measured == nil:
		return fmt.Errorf("%w: a profile %q", ErrUnknown, name)
	default:
		_ = measured.WriteTo(w, debug) // the client has gone
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}
