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
	if at, err := os.Stat(path); err != nil {
		return nil, err
	} else if !at.Mode().IsRegular() {
		return nil, ErrNotRegular
	}
	return ReadFile(path, bytesMax, tooLong)
}

// ReadFile returns what the file at path holds. The error for more than bytesMax bytes is tooLong.
func ReadFile(path string, bytesMax int, tooLong error) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it is only read
	text, err := io.ReadAll(io.LimitReader(f, int64(bytesMax)+1))
	if err == nil && len(text) > bytesMax {
		err = tooLong
	}
	return text, err
}

// WithoutPath returns what an error of the file system says beside the path.
func WithoutPath(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return err.Error()
}
