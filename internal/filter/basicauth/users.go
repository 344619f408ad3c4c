package basicauth

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
)

// user is a name and what is known of its password.
// Immutable.
type user struct {
	name string
	hash hash
	id   [sha256.Size]byte // of the name and the text of the hash
}

// users are the users of a filter at a time.
// Immutable.
type users struct {
	named map[string]*user
	list  []*user
}

var (
	errNoUsers = errors.New("there is no user")
	errTwice   = errors.New("the name is taken by another line")
	errName    = errors.New("a name has 1 to 255 bytes, no colon, no control character, and no # at its beginning")
)

// Line returns a line of a file of users, without its end.
func Line(name, hash string) (string, error) {
	if !validName(name) {
		return "", errName
	}
	return name + ":" + hash, nil
}

func validName(name string) bool {
	return name != "" && len(name) <= userMax && name[0] != '#' && !strings.Contains(name, ":") &&
		!hasControl([]byte(name))
}

func (u *users) add(name, text string) error {
	if !validName(name) {
		return errName
	}
	if u.named[name] != nil {
		return errTwice
	}
	h, err := parseHash(text)
	if err != nil {
		return err
	}
	one := &user{name, h, sha256.Sum256([]byte(name + ":" + text))}
	u.named[name] = one
	u.list = append(u.list, one)
	return nil
}

// likely returns a user whose hash is looked at for a name that no user has, so that such a name takes as long as one
// of the others. It is the same one each time: a name that changed its time would tell.
func (u *users) likely(name []byte) *user {
	sum := sealed(&[sha256.Size]byte{}, name)
	return u.list[binary.LittleEndian.Uint64(sum[:])%uint64(len(u.list))]
}

// inline makes users of a table. The error is of the first name that is wrong.
func inline(table map[string]string) (*users, error) {
	u := &users{named: make(map[string]*user)}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if err := u.add(name, table[name]); err != nil {
			return nil, fmt.Errorf("user %q: %w", name, err)
		}
	}
	return u, nil
}

// fileMax bounds a file of users: 100 000 of them have room.
const fileMax = 16 << 20

// readFile reads a file of lines "name:hash", as htpasswd writes it. Empty lines and those that begin with "#" are
// passed over.
func readFile(path string) (*users, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not keep the worker waiting
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf(`%w: "edge hash-password" makes its lines`, err)
	}
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s: it is not a regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, fileMax+1))
	switch {
	case err != nil:
		return nil, nil, err
	case len(text) > fileMax:
		return nil, nil, fmt.Errorf("%s: it is larger than %d MiB", path, fileMax>>20)
	}
	u, err := parseUsers(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%s:%w", path, err)
	}
	return u, info, nil
}

// parseUsers reads the lines of a file. An error begins with the number of its line.
func parseUsers(text []byte) (*users, error) {
	u := &users{named: make(map[string]*user)}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		line = bytes.TrimRight(line, "\r\n")
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		name, hash, found := strings.Cut(string(line), ":")
		if !found {
			return nil, fmt.Errorf(`%d: a line is "name:hash"`, n)
		}
		if err := u.add(name, hash); err != nil {
			return nil, fmt.Errorf("%d: user %q: %w", n, name, err)
		}
	}
	if len(u.list) == 0 {
		return nil, fmt.Errorf("%d: %w", max(n, 1), errNoUsers)
	}
	return u, nil
}
