package supervisor

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
// The service has the same file, so the machine holds it once.
func release() {
	debug.FreeOSMemory()
	filePages("").Drop()
}

// Pages are memory that has the same bytes as a file.
type Pages [][]byte

// ProgramPages returns the mappings of the program's file that cannot be written. It finds none after the process has
// changed its user. Mappings of other files may end before they are dropped.
func ProgramPages() Pages {
	name, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil
	}
	return filePages(" " + name)
}

// filePages returns the mappings that cannot be written, of files whose names end with suffix.
func filePages(suffix string) (clean Pages) {
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return nil
	}
	defer maps.Close() //nolint:errcheck // it was read
	var from, to uintptr
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		line := lines.Text()
		if line < "A" || line >= "[" { // else it tells more of the mapping that a line before has begun
			if from, to = 0, 0; strings.HasSuffix(line, suffix) {
				from, to = readOnly(line)
			}
			continue
		}
		if written, found := strings.CutPrefix(line, "Anonymous:"); !found || strings.TrimSpace(written) != "0 kB" {
			continue // a linker may have written it before it was made read-only
		}
		if to > from {
			// SAFETY: the kernel has just named the mapping, and nothing of it differs from its file: a page that is
			// dropped has the same bytes when it is read again. The program's file is mapped until its end, and the
			// parent ends no mapping.
			clean = append(clean, unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&from))), to-from))
		}
	}
	return clean
}

// Drop takes pages out of the resident memory of this process, which counts them although the kernel keeps them anyway,
// as its cache of files. A page comes back from there when it is needed.
func (p Pages) Drop() {
	for _, pages := range p {
		_ = unix.Madvise(pages, unix.MADV_DONTNEED)
	}
}

// readOnly returns the bounds of the mapping that line is the first of; both are 0 unless it is of a file and cannot be
// written.
func readOnly(line string) (from, to uintptr) {
	var offset, inode uintptr
	var rights, device string
	n, _ := fmt.Sscanf(line, "%x-%x %s %x %s %d", &from, &to, &rights, &offset, &device, &inode)
	if n < 6 || inode == 0 || !strings.HasPrefix(rights, "r-") {
		return 0, 0
	}
	return from, to
}
