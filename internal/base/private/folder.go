package private

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	fileBytesMax = 1 << 20
	draftLife    = time.Minute // writing a file takes less
	draftBytes   = 26          // of rand.Text
)

// What can be wrong with a folder or a file in it.
var (
	ErrLarge     = errors.New("is larger than 1 MiB")
	ErrNoRegular = errors.New("is no regular file")

	errNoFolder = errors.New("is no folder")
	errSwapped  = errors.New("became another one while it was opened")
	errNames    = errors.New("has another name elsewhere, which may be somebody else's: copy it")
)

// Folder keeps files with secrets. Root may make it for the user that the process becomes. Then that user owns it, and
// the next start uses it as root again. So its owner and its permissions are checked each time, and its files are
// opened through the descriptor that was checked: no link leads to a file of root's.
//
//	made by root ── HandOver: files, then the folder ──► the user's
//
// Names of files are paths below it, with slashes. Immutable; safe for any goroutine.
type Folder struct {
	path     string
	uid, gid int // of the user that the folder is made for
}

// New returns the folder at path, which is made where it is not there. If the process is root and will become another
// user, uid and gid belong to that user; with a uid below 0 the folder is for the user of the process.
func New(path string, uid, gid int) (*Folder, error) {
	d := &Folder{path: path, uid: uid, gid: gid}
	above := fs.FileMode(0o700)
	if uid < 0 {
		d.uid = os.Geteuid()
	}
	if d.given() {
		above = 0o755 // the user has to get through
	}
	if err := os.MkdirAll(filepath.Dir(path), above); err != nil {
		return nil, err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return d, nil
}

// Check reports a folder that New could not make, or that Open would refuse, and changes nothing. uid is the user that
// the folder is for; below 0 any user may own it. What this process may not look at is no error.
func Check(path string, uid int) error {
	at, err := os.Lstat(path)
	for errors.Is(err, fs.ErrNotExist) && path != filepath.Dir(path) {
		path = filepath.Dir(path)
		if at, err = os.Stat(path); err == nil && at.IsDir() {
			return nil
		}
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil
	case err != nil:
		return err
	case !at.IsDir():
		return fmt.Errorf("%s %w", path, errNoFolder)
	case uid < 0:
		uid = ownerOf(at)
	}
	if err = (&Folder{path: path, uid: uid}).allowed(path, at, 0, uid); err != nil {
		return fmt.Errorf("%s %w", path, err)
	}
	return nil
}

// given tells whether the process is root and the folder is for another user.
func (d *Folder) given() bool { return os.Geteuid() == 0 && d.uid != 0 }

// Path returns where the folder is.
func (d *Folder) Path() string { return d.path }

// Open opens the folder, after a check of its owner and permissions, and returns the owner too.
func (d *Folder) Open() (root *os.Root, owner int, err error) {
	at, err := os.Lstat(d.path)
	if err != nil {
		return nil, 0, err
	}
	if !at.IsDir() {
		return nil, 0, fmt.Errorf("%s %w", d.path, errNoFolder)
	}
	root, err = os.OpenRoot(d.path)
	if err != nil {
		return nil, 0, err
	}
	opened, err := root.Stat(".")
	if err == nil && !os.SameFile(at, opened) { // it followed a link
		err = fmt.Errorf("%s %w", d.path, errSwapped)
	}
	if err == nil {
		if err = d.allowed(d.path, opened, 0, d.uid); err != nil {
			err = fmt.Errorf("%s %w", d.path, err)
		}
	}
	if err != nil {
		_ = root.Close()
		return nil, 0, err
	}
	return root, ownerOf(opened), nil
}

// allowed reports that a file, or the folder, belongs to none of owners, or that others may write it. Then they could
// know the keys, whose secrecy every client of the authority relies on.
func (d *Folder) allowed(path string, at fs.FileInfo, owners ...int) error {
	if uid := ownerOf(at); !slices.Contains(owners, uid) {
		return fmt.Errorf("belongs to the user %d, not to %d: chown -R %d %s if nobody else could write it, "+
			"else remove that folder", uid, d.uid, d.uid, d.path)
	}
	if at.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("can be written by others: chmod go-w %s if none of them did, else remove %s", path, d.path)
	}
	return nil
}

func ownerOf(at fs.FileInfo) int { return int(at.Sys().(*syscall.Stat_t).Uid) }

// trusted reports that an open file of a folder of owner is not to be used.
func (d *Folder) trusted(at fs.FileInfo, owner int, name string) error {
	if !at.Mode().IsRegular() {
		return ErrNoRegular
	}
	owners := []int{owner, d.uid}
	if !d.given() {
		owners = append(owners, 0) // what root made for the process is read with its own rights
	}
	if err := d.allowed(filepath.Join(d.path, name), at, owners...); err != nil {
		return err
	}
	if ownerOf(at) != d.uid && at.Sys().(*syscall.Stat_t).Nlink > 1 {
		return errNames
	}
	return nil
}

// Read returns the text of a file.
func (d *Folder) Read(name string) ([]byte, error) {
	root, owner, err := d.Open()
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // it was read
	// Without O_NONBLOCK a pipe would be waited for.
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was read
	at, err := f.Stat()
	if err == nil {
		err = d.trusted(at, owner, name)
	}
	if err != nil {
		return nil, err
	}
	return ReadAll(f)
}

// ReadAll returns the text of an open file, of 1 MiB at most.
func ReadAll(f *os.File) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(f, fileBytesMax+1))
	if err == nil && len(text) > fileBytesMax {
		err = ErrLarge
	}
	return text, err
}

// Replace writes a file, whole or not at all. It makes the folders above the file.
func (d *Folder) Replace(name string, text []byte) error { return d.put(name, text, (*os.Root).Rename) }

// Create is Replace unless the file is there, which is no error.
func (d *Folder) Create(name string, text []byte) error { return d.put(name, text, linkFirst) }

// linkFirst gives a file its name, unless another one has it.
func linkFirst(root *os.Root, next, name string) error {
	err := root.Link(next, name)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return root.Rename(next, name) // there are no links in this file system
	}
	_ = root.Remove(next)
	return nil
}

// put is Replace by what gives the written file its name.
func (d *Folder) put(name string, text []byte, give func(root *os.Root, next, name string) error) error {
	root, _, err := d.Open()
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // what was written is closed by itself
	above := filepath.Dir(name)
	if err := d.MakeIn(root, above); err != nil {
		return err
	}
	in, err := root.Open(above)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // of a folder
	clearDrafts(root, in, name)
	next := name + "." + rand.Text()
	f, err := root.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if d.given() {
		err = f.Chown(d.uid, d.gid)
	}
	if err == nil {
		_, err = f.Write(text)
	}
	if err == nil {
		err = f.Sync() // after a loss of power the name would lead to an empty file
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = give(root, next, name)
	}
	if err != nil {
		_ = root.Remove(next)
		return err
	}
	return in.Sync() // the names in it
}

// clearDrafts removes files that processes have left which were killed while they wrote a file: secrets may be in them.
// in is the folder of the file.
func clearDrafts(root *os.Root, in *os.File, name string) {
	list, _ := in.ReadDir(-1) // as far as it can be read
	for _, e := range list {
		ending, found := strings.CutPrefix(e.Name(), filepath.Base(name)+".")
		if !found || len(ending) != draftBytes || strings.Trim(ending, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
			continue
		}
		if at, err := e.Info(); err == nil && time.Since(at.ModTime()) > draftLife {
			_ = root.Remove(name + "." + ending)
		}
	}
}

// MakeIn makes a folder below root, which is the opened d, and the folders above it.
func (d *Folder) MakeIn(root *os.Root, name string) error {
	at, err := root.Lstat(name)
	if err == nil && !at.IsDir() {
		return fmt.Errorf("%s %w", filepath.Join(d.path, name), errNoFolder)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.MakeIn(root, filepath.Dir(name)); err != nil {
		return err
	}
	if err := root.Mkdir(name, 0o700); errors.Is(err, fs.ErrExist) {
		return nil // another process made it meanwhile
	} else if err != nil {
		return err
	}
	if d.given() {
		return root.Lchown(name, d.uid, d.gid)
	}
	return nil
}

// Remove removes files, and folders with all that is in them, where they are there.
func (d *Folder) Remove(names ...string) error {
	root, _, err := d.Open()
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // nothing was written
	var errs []error
	for _, name := range names {
		errs = append(errs, root.RemoveAll(name))
	}
	return errors.Join(errs...)
}

// HandOver gives the user the files of these names that root made earlier, then the folder; without names, every file
// in the folder. No other user exchanges a file meanwhile: the folder is root's, and others cannot write there.
func (d *Folder) HandOver(names ...string) error {
	if !d.given() {
		return nil
	}
	root, owner, err := d.Open()
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // it was read
	if owner == d.uid {
		return nil
	}
	if len(names) == 0 {
		if names, err = all(root); err != nil {
			return err
		}
	}
	var found []string
	for _, name := range names { // all of them, or none
		err := d.check(root, owner, name)
		if err == nil {
			found = append(found, name)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", filepath.Join(d.path, name), err)
		}
	}
	for _, name := range append(found, ".") {
		if err := root.Lchown(name, d.uid, d.gid); err != nil {
			return err
		}
	}
	return nil
}

// all returns the names of all files and folders in root, files of a folder before the folder.
func all(root *os.Root) (names []string, err error) {
	err = fs.WalkDir(root.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if name != "." {
			names = append(names, name)
		}
		return err
	})
	slices.Reverse(names)
	return names, err
}

// check reports that a file or a folder of a folder of owner is not to be given away.
func (d *Folder) check(root *os.Root, owner int, name string) error {
	at, err := root.Lstat(name)
	if err != nil {
		return err
	}
	if at.IsDir() {
		return d.allowed(filepath.Join(d.path, name), at, owner, d.uid)
	}
	return d.trusted(at, owner, name)
}
