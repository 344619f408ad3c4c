package syntax

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// ErrNotRegular is why ReadRegular opens neither a pipe nor a device: that could wait for ever.
var ErrNotRegular = errors.New("not a regular file")

// ReadRegular is ReadFile for a regular file.
func ReadRegular(path string, bytesMax int, tooLong error) ([]byte, error) {
	if err := CheckRegular(path); err != nil {
		return nil, err
	}
	return ReadFile(path, bytesMax, tooLong)
}

// CheckRegular returns ErrNotRegular, or why a file cannot be looked at.
func CheckRegular(path string) error {
	at, err := os.Stat(path)
	if err == nil && !at.Mode().IsRegular() {
		err = ErrNotRegular
	}
	return err
}

// ReadFile returns what the file at path holds. The error for more than bytesMax bytes is tooLong.
func ReadFile(path string, bytesMax int, tooLong error) ([]byte, error) {
	text, _, err := Read(path, bytesMax, tooLong)
	return text, err
}

// Read is ReadFile with what the file was like just before it was read.
func Read(path string, bytesMax int, tooLong error) (text []byte, at fs.FileInfo, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close() //nolint:errcheck // it is only read
	if at, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	text, err = io.ReadAll(io.LimitReader(f, int64(bytesMax)+1))
	if err == nil && len(text) > bytesMax {
		err = tooLong
	}
	return text, at, err
}

// WithoutPath returns what an error of the file system says beside the path.
func WithoutPath(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return err.Error()
}
