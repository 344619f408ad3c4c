package observe

import (
	"io"
	"log/slog"
	"time"
)

// Options are the choices for a Sink. The zero value writes to stdout.
type Options struct {
	// Path is "stdout", "stderr" or a file to append to, made with mode 0640 when it is missing.
	// Empty means stdout. Beside Writer or Records it is what Events hears that these are called.
	Path string
	// Writer is written to instead of Path. It must not keep what it gets. It is not closed.
	Writer io.Writer
	// Records is written to instead of Path and Writer: it gets records in place of lines. It is not closed.
	Records RecordWriter
	// RingBytes is the size of a ring, and of what may wait in Lines, rounded up to a power of two; 0 means 256 KiB,
	// and less than 64 KiB counts as 64 KiB.
	RingBytes int
	// Flush is how long a line may lie in a ring; 0 means 1 s. Less makes the reactors slower: the
	// writer then wakes more often on their core.
	Flush time.Duration
	// CloseWait is how long Close, Sync and Reopen wait for a slow output; 0 means 5 s.
	CloseWait time.Duration
	// BatchBytes is how much is gathered before it is written, and as much again while it is; 0 means 2 MiB.
	BatchBytes int
	// Events hears of a failing output, once a minute at most; nil means slog.Default.
	Events *slog.Logger
	// Notice is for a Sink with Lines alone. It makes a line for the output itself, which says there, instead of
	// Events, how many lines were dropped and how many were refused, with the last error of that. It is written as soon
	// as the output takes lines again, where the dropped ones would be. Called by the writing goroutine.
	Notice func(dropped, refused uint64, err error) []byte
}
