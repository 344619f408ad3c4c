package supervise

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// release gives back what the start of the program has left in memory: free pages of the heap, and pages of its file.
// The service has the same file, so the machine holds it once, but the resident memory of each process counts it. Pages
// are read again when they are needed.
func release() {
	debug.FreeOSMemory()
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer maps.Close() //nolint:errcheck // it was read
	var from, to uintptr
	var clean [][]byte
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		line := lines.Text()
		if f, t, ok := readOnly(line); ok {
			from, to = f, t
			continue
		}
		if written, found := strings.CutPrefix(line, "Anonymous:"); !found || strings.TrimSpace(written) != "0 kB" {
			continue // a linker may have written it before it was made read-only
		}
		if to > from {
			// SAFETY: the kernel has just named the mapping, and nothing of it differs from its file: a page that is
			// dropped has the same bytes when it is read again. The program's file is mapped until its end.
			clean = append(clean, unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&from))), to-from))
		}
	}
	for _, pages := range clean { // at the end: reading the list needs most of them
		_ = unix.Madvise(pages, unix.MADV_DONTNEED)
	}
}

// readOnly returns the bounds of a mapping where line begins its description; both are 0 unless it is of a file and
// cannot be written.
func readOnly(line string) (from, to uintptr, begins bool) {
	var f, t, offset, inode uintptr
	var rights, device string
	n, _ := fmt.Sscanf(line, "%x-%x %s %x %s %d", &f, &t, &rights, &offset, &device, &inode)
	switch {
	case n < 6:
		return 0, 0, false
	case inode == 0 || !strings.HasPrefix(rights, "r-"):
		return 0, 0, true
	}
	return f, t, true
}
