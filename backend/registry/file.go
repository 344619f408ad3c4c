package registry

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/base/safeopen"
)

// fileRegistry keeps an entry as a line of a file. The comment of the line says when it ends: the next process that
// writes the file takes out lines that have ended.
//
//	10.0.0.11:8080 weight=3 zone=b # registered api-1 by 5f2c91d0a3b47e66 until 2026-01-31T12:00:15Z
//
// Owned by the goroutine of its Registration.
type fileRegistry struct {
	path  string
	owner string
	put   bool   // a line may be there
	line  string // the last one, up to its comment: another one is put though a later process has the name
}

// FileMax bounds a file of backends, in bytes.
const FileMax = 8 << 20

const lockWait = 10 * time.Millisecond // between two looks whether another process still writes

// ErrFileSize says that a file of backends has more than FileMax bytes.
var ErrFileSize = fmt.Errorf("the file has more than %d bytes", FileMax)

var (
	errNoFile   = errors.New("it is not a regular file")
	errFileJSON = errors.New("the file is a list in JSON, which is not added to")
)

// newOwner returns a text that no other registration has.
func newOwner() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// Put writes the line, in the place of a line that has the same name. A line that it has written before does not take
// the place of a line that a later process has written since. A port alone is one of 127.0.0.1: a file is for the
// programs of one machine.
func (g *fileRegistry) Put(ctx context.Context, e *Entry) (string, error) {
	address := e.Address
	if strings.HasPrefix(address, ":") {
		address = "127.0.0.1" + address
	}
	words := []string{address}
	if e.Weight > 1 {
		words = append(words, "weight="+strconv.Itoa(e.Weight))
	}
	if e.Zone != "" {
		words = append(words, "zone="+e.Zone)
	}
	name := e.Called(address)
	line := strings.Join(words, " ")
	renewed := line == g.line
	until := time.Now().Add(e.TTL).UTC().Format(time.RFC3339)
	words = append(words, "# registered", name, "by", g.owner, "until", until)
	g.put = true
	err := g.rewrite(ctx, func(lines []string) []string {
		if renewed && g.isTaken(lines, name) {
			return lines
		}
		return replaced(lines, strings.Join(words, " "), func(m *mark) bool { return m.name == name })
	})
	if err == nil {
		g.line = line
	}
	return address, err
}

// isTaken reports whether another process has a name in lines that has not ended.
func (g *fileRegistry) isTaken(lines []string, name string) bool {
	now := time.Now()
	return slices.ContainsFunc(lines, func(one string) bool {
		m := markOf(one)
		return m != nil && m.name == name && m.owner != g.owner && m.until.After(now)
	})
}

// Withdraw takes the line out.
func (g *fileRegistry) Withdraw(ctx context.Context) error {
	if !g.put {
		return nil
	}
	return g.rewrite(ctx, func(lines []string) []string {
		return replaced(lines, "", func(m *mark) bool { return m.owner == g.owner })
	})
}

// mark is the comment of a line that was registered.
type mark struct {
	name, owner string
	until       time.Time
}

// markOf reads the comment of a line; nil: it was not registered.
func markOf(line string) *mark {
	_, comment, _ := strings.Cut(line, "#")
	f := strings.Fields(comment)
	if len(f) != 6 || f[0] != "registered" || f[2] != "by" || f[4] != "until" {
		return nil
	}
	until, err := time.Parse(time.RFC3339, f[5])
	if err != nil {
		return nil
	}
	return &mark{f[1], f[3], until}
}

// replaced returns lines with line in the place of the first line that is meant, else at the end, and without others
// that are meant or have ended. An empty line is left out.
func replaced(lines []string, line string, meant func(m *mark) bool) (all []string) {
	add := func() {
		if line != "" {
			all, line = append(all, line), ""
		}
	}
	now := time.Now()
	for _, one := range lines {
		m := markOf(one)
		switch {
		case m == nil:
			all = append(all, one)
		case meant(m):
			add()
		case m.until.After(now):
			all = append(all, one)
		}
	}
	add()
	return all
}

// rewrite replaces the file by one with other lines, while no other process does.
func (g *fileRegistry) rewrite(ctx context.Context, change func(lines []string) []string) error {
	folder, err := lock(ctx, filepath.Dir(g.path))
	if err != nil {
		return err
	}
	defer folder.Close() //nolint:errcheck // it was only locked
	text, mode, err := ReadFile(g.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		mode = 0o644
	case err != nil:
		return err
	case bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")):
		return errFileJSON
	}
	var lines []string
	if len(text) > 0 {
		lines = strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	}
	var next strings.Builder
	for _, line := range change(lines) {
		next.WriteString(line + "\n")
	}
	beside := g.path + "." + g.owner
	if err := write(beside, next.String(), mode); err != nil {
		return err
	}
	if err := os.Rename(beside, g.path); err != nil {
		return errors.Join(err, os.Remove(beside))
	}
	return nil
}

// write puts a text into a file. It follows no link that another user may have put there.
func write(path, text string, mode fs.FileMode) error {
	f, err := safeopen.Open(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// lock opens a folder and waits until no other process has it locked. Closing it unlocks it.
func lock(ctx context.Context, path string) (*os.File, error) {
	folder, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return folder, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), folder.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), folder.Close())
		case <-time.After(lockWait):
		}
	}
}

// ReadFile returns the text of a file of backends and its rights. It never waits for a writer, as a reader of a pipe
// does: the end of a source waits for it.
func ReadFile(path string) ([]byte, fs.FileMode, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, 0, cmp.Or(err, errNoFile)
	}
	text, err := io.ReadAll(io.LimitReader(f, FileMax+1))
	if err == nil && len(text) > FileMax {
		err = ErrFileSize
	}
	return text, info.Mode().Perm(), err
}
