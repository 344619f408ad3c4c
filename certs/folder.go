package certs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// folder is where an Authority keeps its files. Root may make it for the user that the process becomes. Then that
// user owns it, and the next start uses it as root again. So its owner and its permissions are checked each time, and
// its files are opened through the descriptor that was checked: no link leads to a file of root's.
//
//	made by root ── OpenAuthority: files, then the folder ──► the user's
//
// Immutable.
type folder struct {
	path     string
	uid, gid int // of the user that the folder is made for
}

// newFolder makes the folder where it is not there. With a uid below 0 it is for the user of the process.
func newFolder(path string, uid, gid int) (*folder, error) {
	d := &folder{path: path, uid: uid, gid: gid}
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

// given tells whether the process is root and the folder is for another user.
func (d *folder) given() bool { return os.Geteuid() == 0 && d.uid != 0 }

var (
	errNoFolder  = errors.New("is no folder")
	errNoRegular = errors.New("is no regular file")
	errSwapped   = errors.New("became another one while it was opened")
	errNames     = errors.New("has another name elsewhere, which may be somebody else's: copy it")
)

// open opens the folder and returns its owner.
func (d *folder) open() (*os.Root, int, error) {
	at, err := os.Lstat(d.path)
	if err != nil {
		return nil, 0, err
	}
	if !at.IsDir() {
		return nil, 0, fmt.Errorf("%s %w", d.path, errNoFolder)
	}
	root, err := os.OpenRoot(d.path)
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
func (d *folder) allowed(path string, at fs.FileInfo, owners ...int) error {
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

// file opens a file of the folder, which belongs to owner.
func (d *folder) file(root *os.Root, owner int, name string) (*os.File, error) {
	if at, err := root.Lstat(name); err != nil {
		return nil, reason(err)
	} else if !at.Mode().IsRegular() {
		return nil, errNoRegular
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it could be a pipe by now
	if err != nil {
		return nil, reason(err)
	}
	at, err := f.Stat()
	if err == nil {
		err = d.trusted(at, owner, name)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// trusted reports that an open file of a folder of owner is not to be used.
func (d *folder) trusted(at fs.FileInfo, owner int, name string) error {
	if !at.Mode().IsRegular() {
		return errNoRegular
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

// read returns the text of a file.
func (d *folder) read(name string) ([]byte, error) {
	root, owner, err := d.open()
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // it was read
	f, err := d.file(root, owner, name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was read
	return readAll(f)
}

// replace writes a file, whole or not at all.
func (d *folder) replace(name string, text []byte) error { return d.put(name, text, (*os.Root).Rename) }

// linkFirst gives a file its name, unless another one has it.
func linkFirst(root *os.Root, next, name string) error {
	err := root.Link(next, name)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return root.Rename(next, name) // there are no links in this file system
	}
	_ = root.Remove(next)
	return nil
}

// put is replace by what gives the written file its name.
func (d *folder) put(name string, text []byte, give func(root *os.Root, next, name string) error) error {
	root, _, err := d.open()
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // what was written is closed by itself
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
	}
	return err
}

// remove removes files, where they are there.
func (d *folder) remove(names ...string) error {
	root, _, err := d.open()
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // nothing was written
	var errs []error
	for _, name := range names {
		if err := root.Remove(name); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// handOver gives the user the files of these names that root made earlier, then the folder.
func (d *folder) handOver(names ...string) error {
	if !d.given() {
		return nil
	}
	root, owner, err := d.open()
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // it was read
	if owner == d.uid {
		return nil
	}
	var files []*os.File
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	for _, name := range names { // all of them, or none
		f, err := d.file(root, owner, name)
		if err == nil {
			files = append(files, f)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", filepath.Join(d.path, name), err)
		}
	}
	for _, f := range files {
		if err := f.Chown(d.uid, d.gid); err != nil {
			return err
		}
	}
	return root.Lchown(".", d.uid, d.gid)
}
