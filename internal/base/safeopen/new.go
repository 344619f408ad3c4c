package safeopen

import "os"

// WriteNew writes a file that is not there yet, for its owner alone: the text may hold passwords. A file that could not
// be written whole is removed. Errors are errors of os.
func WriteNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		os.Remove(path)
	}
	return err
}
