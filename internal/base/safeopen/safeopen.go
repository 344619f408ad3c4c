// Package safeopen opens files by their paths for a process that may be root's.
//
// In a folder that another user may write, a name can be a link to any file of root's. There no link is followed that
// leads out of the folder, and no second name of another user's file is taken. In folders of root alone, and for all
// other users, it is os.OpenFile. The folders above are not checked: a user that may write those chooses what is
// opened. It also names temporary files that are renamed when they are whole, and removes those that a killed process
// has left.
package safeopen

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrLink is why root does not open a file.
var ErrLink = errors.New("is a link in a folder that others than root may write: " +
	"name the file that it leads to, or chown root and chmod go-w the folder")

// Open is os.OpenFile, but for links: see the package.
func Open(path string, flag int, perm fs.FileMode) (*os.File, error) {
	if os.Geteuid() != 0 {
		return os.OpenFile(path, flag, perm)
	}
	folder, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer folder.Close() //nolint:errcheck // it was read
	at, err := folder.Stat(".")
	if err != nil {
		return nil, err
	}
	owner, _ := ownerOf(at)
	if owner == 0 && at.Mode().Perm()&0o022 == 0 {
		return os.OpenFile(path, flag, perm)
	}
	name := filepath.Base(path)
	if at, err := folder.Lstat(name); err == nil && at.Mode()&fs.ModeSymlink != 0 {
		return nil, &fs.PathError{Op: "open", Path: path, Err: ErrLink}
	}
	f, err := folder.OpenFile(name, flag&^os.O_TRUNC, perm) // it follows none out of the folder, should one come now
	if err != nil {
		return nil, err
	}
	if err = own(f, owner); err == nil && flag&os.O_TRUNC != 0 {
		err = f.Truncate(0)
	}
	if err != nil {
		_ = f.Close()
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return f, nil
}

// own fails for a file with a second hard link, unless it belongs to the owner of the folder and that is not root:
// another user who may write the folder may have made the link.
func own(f *os.File, folder uint32) error {
	at, err := f.Stat()
	if err != nil {
		return err
	}
	owner, names := ownerOf(at)
	if at.Mode().IsRegular() && names > 1 && (owner != folder || folder == 0) {
		return ErrLink
	}
	return nil
}

// ownerOf returns whose a file is, and how many names it has.
func ownerOf(at fs.FileInfo) (uid uint32, names uint64) {
	st := at.Sys().(*syscall.Stat_t)
	return st.Uid, uint64(st.Nlink)
}
