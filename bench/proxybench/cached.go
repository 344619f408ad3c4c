package proxybench

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	memoryFiles     = "/dev/shm"
	memoryFilesFree = 2 << 30
	checksMax       = 10 // a cache may store an answer a moment after its client has it
)

// memoryDir makes a directory: in memory, if there is a file system with room there, else in dir.
func memoryDir(dir string) (string, error) {
	var fs unix.Statfs_t
	if unix.Statfs(memoryFiles, &fs) == nil && fs.Bavail*uint64(fs.Bsize) >= memoryFilesFree {
		dir = memoryFiles
	}
	return os.MkdirTemp(dir, "edge-bench-")
}

var (
	errNotStored = errors.New("it asks the origin each time")
	errStored    = errors.New("it does not ask the origin each time")
)

// checkStored returns an error if a proxy does not answer url as its scenario supposes. A proxy that keeps answers has
// to answer the second of two equal requests without the origin; another proxy has to ask the origin each time. asked
// returns how many requests the origin has answered. Each body has to be as long as the origin's own answer at from.
func checkStored(ctx context.Context, url, from string, asked func() uint64, keeps bool) error {
	want, err := fetchLen(ctx, from, "")
	if err != nil {
		return fmt.Errorf("origin: %w", err)
	}
	for range checksMax {
		before := asked()
		switch got, err := fetchLen(ctx, url, ""); {
		case err != nil:
			return err
		case got != want:
			return fmt.Errorf("a body of %d bytes, want %d", got, want)
		case asked() == before && keeps:
			return nil
		case asked() == before:
			return errStored
		}
		time.Sleep(pollEvery)
	}
	if keeps {
		return errNotStored
	}
	return nil
}

// checkZipped returns an error if a proxy does not compress the answer of its origin, whose own address is from, by
// gzip.
func checkZipped(ctx context.Context, url, from string) error {
	want, err := fetchLen(ctx, from, "")
	if err != nil {
		return fmt.Errorf("origin: %w", err)
	}
	if got, err := fetchLen(ctx, url, "gzip"); err != nil || got != want {
		return errors.Join(fmt.Errorf("%d bytes in gzip, want %d", got, want), err)
	}
	return nil
}

// fetchLen asks for url over a connection of its own, in a content coding, which may be empty or gzip, and returns the
// length of the body without it.
func fetchLen(ctx context.Context, url, coding string) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Accept-Encoding", coding)
	t := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	c := http.Client{Transport: t, Timeout: readyTimeout}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return 0, errors.New(resp.Status)
	}
	if got := resp.Header.Get("Content-Encoding"); got != coding {
		return 0, fmt.Errorf("its content coding is %q, not %q", got, coding)
	}
	if coding == "" {
		return io.Copy(io.Discard, resp.Body)
	}
	z, err := gzip.NewReader(resp.Body)
	if err != nil {
		return 0, err
	}
	return io.Copy(io.Discard, z)
}
