package safeopen

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Hidden returns the name of the temporary file that this process renames to path. Each process has a name of its own.
func Hidden(path string) string {
	return filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%d", filepath.Base(path), os.Getpid()))
}

// RemoveHidden removes files with the name Hidden(path) of this process, and of processes that have ended: they were
// killed before the rename.
func RemoveHidden(path string) {
	_ = os.Remove(Hidden(path))
	list, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return
	}
	for _, e := range list {
		number, ok := strings.CutPrefix(e.Name(), "."+filepath.Base(path)+".")
		pid, _ := strconv.Atoi(number)
		ok = ok && pid > 0 && strconv.Itoa(pid) == number
		if ok && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.Remove(filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
}
