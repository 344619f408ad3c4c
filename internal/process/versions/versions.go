package versions

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edge-proxy/edge/internal/config"
)

// Version is one configuration that was applied.
// Immutable.
type Version struct {
	Number int           `json:"number"`
	At     time.Time     `json:"at"`    // when it was applied
	Cause  string        `json:"cause"` // "start", "signal", "rollback to version 3", …
	Files  *config.Files `json:"files"`
}

// Options bound a Store.
type Options struct {
	Dir   string // where versions outlive the process; "": memory alone
	Most  int    // versions
	Bytes int    // of texts
}

// Store has the last versions.
// Safe for any goroutine.
//
//	numbers rise in list
//	highest >= each number in list
type Store struct {
	mu      sync.Mutex
	options Options   // guarded by mu
	list    []Version // the oldest first; guarded by mu
	highest int       // guarded by mu
	present int       // the number of the version in force; guarded by mu
}

const (
	suffix      = ".version.json"
	fileMost    = 64 << 20 // bytes of a file of a version: base64 of 16 MiB of texts, and more
	numbersTry  = 100      // that another process may take meanwhile
	versionMode = 0o600
)

// FolderMode is the mode of the folder of versions: other users may neither list nor read it.
const FolderMode = 0o700

var errShape = errors.New("it is not a version of a configuration, or not whole")

// Dir returns the folder for versions of a process; "": there is none.
func Dir(g *config.Global) string {
	if g.VersionsDir != "" {
		return g.VersionsDir
	}
	if dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); dir != "" {
		return filepath.Join(dir, "versions")
	}
	return ""
}

// Open returns a Store with the versions that the folder has. The error says what was passed over, or why versions
// will not outlive the process; the Store is of use even so.
func Open(o Options) (*Store, error) {
	s := &Store{options: o}
	if o.Dir == "" {
		return s, nil
	}
	if err := os.MkdirAll(o.Dir, FolderMode); err != nil {
		s.options.Dir = ""
		return s, err
	}
	names, err := filepath.Glob(filepath.Join(escape(o.Dir), "*"+suffix))
	errs := []error{err}
	for _, name := range names {
		v, err := read(name)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		s.list = append(s.list, *v)
		s.highest = max(s.highest, v.Number)
	}
	slices.SortFunc(s.list, func(a, b Version) int { return a.Number - b.Number })
	s.forget()
	return s, errors.Join(errs...)
}

// escape returns a path as a pattern for itself.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

func read(name string) (*Version, error) {
	at, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !at.Mode().IsRegular() || at.Size() > fileMost {
		return nil, errShape
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var v Version
	number, _, _ := strings.Cut(filepath.Base(name), ".")
	n, failed := strconv.Atoi(number)
	if err := json.Unmarshal(text, &v); err != nil || failed != nil || v.Number != n || n <= 0 || v.Files == nil ||
		v.Files.Main == "" || len(v.Files.Texts) == 0 {
		return nil, errShape
	}
	return &v, nil
}

// Limit changes how much is kept.
func (s *Store) Limit(most, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options.Most, s.options.Bytes = most, bytes
	s.forget()
}

// Add keeps files as the version in force, and returns its number: a new one, unless the last version has the
// same files. An error says why the version will not outlive the process.
func (s *Store) Add(files *config.Files, cause string, now time.Time) (number int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.list); n > 0 && s.list[n-1].Files.Same(files) {
		s.present = s.list[n-1].Number
		return s.present, nil
	}
	v := Version{Number: s.highest + 1, At: now.UTC().Truncate(time.Millisecond), Cause: cause, Files: files}
	if s.options.Dir != "" {
		err = s.write(&v)
	}
	s.list = append(s.list, v)
	s.highest, s.present = v.Number, v.Number
	s.forget()
	return v.Number, err
}

// write writes v to the folder. It gets another number where another process has taken its own. s.mu is held.
func (s *Store) write(v *Version) error {
	f, err := os.CreateTemp(s.options.Dir, ".version-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // a link to it stays
	for range numbersTry {
		if err = s.fill(f, v); err != nil {
			break
		}
		// link(2) fails where the name is taken; rename(2) would replace what is there.
		if err = os.Link(f.Name(), s.path(v.Number)); !errors.Is(err, fs.ErrExist) {
			break
		}
		v.Number++
	}
	return errors.Join(err, f.Close())
}

func (s *Store) fill(f *os.File, v *Version) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(text, 0); err != nil {
		return err
	}
	if err = f.Truncate(int64(len(text))); err != nil {
		return err
	}
	if err = f.Chmod(versionMode); err != nil {
		return err
	}
	return f.Sync()
}

func (s *Store) path(number int) string {
	return filepath.Join(s.options.Dir, fmt.Sprintf("%08d%s", number, suffix))
}

// forget drops the oldest versions that are too many. s.mu is held.
func (s *Store) forget() {
	bytes, keep := 0, 0
	for i := len(s.list) - 1; i >= 0 && keep < s.options.Most; i-- {
		if bytes += s.list[i].Files.Size(); bytes > s.options.Bytes && keep > 0 {
			break
		}
		keep++
	}
	for _, v := range s.list[:len(s.list)-keep] {
		if s.options.Dir != "" {
			_ = os.Remove(s.path(v.Number)) // what stays is dropped at the next start
		}
	}
	s.list = slices.Clone(s.list[len(s.list)-keep:])
}

// Present returns the number of the version in force; 0: it is not kept.
func (s *Store) Present() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.present
}

// List returns the versions, the oldest first.
func (s *Store) List() []Version {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

// Errors of Find.
var (
	ErrNone    = errors.New("no earlier version is kept")
	ErrUnknown = errors.New("no such version is kept")
)

// Find returns a version by its number; 0: the last one before that in force whose files differ.
func (s *Store) Find(number int) (*Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var present *config.Files
	for i := range s.list {
		if s.list[i].Number == s.present {
			present = s.list[i].Files
		}
	}
	for i := len(s.list) - 1; i >= 0; i-- {
		v := s.list[i]
		if number == 0 && v.Number < s.present && (present == nil || !v.Files.Same(present)) ||
			number != 0 && v.Number == number {
			return &v, nil
		}
	}
	if number == 0 {
		return nil, ErrNone
	}
	return nil, fmt.Errorf("%w: %d", ErrUnknown, number)
}
