package safeopen

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// OpenFolder opens a folder for files of this process alone: see CheckFolder.
func OpenFolder(path string) (*os.Root, error) {
	folder, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	at, err := folder.Stat(".")
	if err == nil {
		err = checkFolder(path, at, os.Geteuid())
	}
	if err != nil {
		_ = folder.Close()
		return nil, err
	}
	return folder, nil
}

// CheckFolder reports a folder that this process may not write, that belongs neither to the user uid nor to root, or
// that other users may write: they could put files of their own in the place of files of the process. uid -1: any user.
func CheckFolder(path string, uid int) error {
	at, err := os.Stat(path)
	if err == nil && !at.IsDir() {
		err = &fs.PathError{Op: "open", Path: path, Err: syscall.ENOTDIR}
	}
	if err == nil {
		err = checkFolder(path, at, uid)
	}
	if err == nil {
		const write = 2 // W_OK
		if err = syscall.Access(path, write); err != nil {
			err = &fs.PathError{Op: "write", Path: path, Err: err}
		}
	}
	return err
}

func checkFolder(path string, at fs.FileInfo, uid int) error {
	switch owner, _ := ownerOf(at); {
	case owner != 0 && uid >= 0 && int(owner) != uid:
		return fmt.Errorf("%s belongs to the user %d, not to %d: chown -R %[3]d %[1]s", path, owner, uid)
	case at.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("other users may write %s: chmod go-w %[1]s, or make a folder below it for edge, as in "+
			"an emptyDir of Kubernetes: install -d -m 700", path)
	}
	return nil
}

var errPlain = errors.New("is no regular file, or has a second name")

// OpenIn opens a regular file of a folder. It follows no link, waits for no pipe and takes no file with a second name.
func OpenIn(folder *os.Root, name string, flag int) (*os.File, error) {
	f, err := folder.OpenFile(name, flag&^os.O_TRUNC|syscall.O_NONBLOCK, 0o600)
	if err == nil {
		err = plain(folder, name, f)
	}
	if err == nil && flag&os.O_TRUNC != 0 {
		err = f.Truncate(0)
	}
	if err != nil {
		_ = f.Close()
		if wrong := (*fs.PathError)(nil); errors.As(err, &wrong) {
			wrong.Op, wrong.Path = "open", filepath.Join(folder.Name(), name)
		}
		return nil, err
	}
	return f, nil
}

// plain fails for a file that name leads to, but is not.
func plain(folder *os.Root, name string, f *os.File) error {
	at, err := f.Stat()
	if err != nil {
		return err
	}
	entry, err := folder.Lstat(name)
	if _, names := ownerOf(at); err == nil && (names > 1 || !at.Mode().IsRegular() || !os.SameFile(at, entry)) {
		err = &fs.PathError{Err: errPlain}
	}
	return err
}
