package cache

import (
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/edge-proxy/edge/internal/cache/disk"
	"github.com/edge-proxy/edge/poller"
)

// notices are the purges of this process, of those that it takes over from, and of those that take over from it: what
// one of them purges, the others know before they answer. They lie in memory that all of them have. Each process writes
// to a page of its own, and reads the others. Safe for any goroutine.
type notices struct {
	*noticeBoard      // is there as long as the notices are
	page         int  // of this process
	first        bool // no process has used the board before

	writing sync.Mutex
	file    poller.File   // has the board; noFile: it is closed. Guarded by writing
	heard   atomic.Uint64 // of total
	reading sync.Mutex
	seen    [noticePages]uint64 // of count; guarded by reading
}

// noticeBoard is the memory.
type noticeBoard struct {
	total atomic.Uint64 // purges on all pages, raised after them: the one word that each hit reads
	_     [56]byte
	last  atomic.Uint64 // the last stamp, which each miss writes: all processes number in one order
	_     [56]byte
	pages [noticePages]noticePage
	urls  knownURLs
}

// noticePage is written by one process.
type noticePage struct {
	count  atomic.Uint64 // purges so far, of which the last ones are there
	purged [noticesMax]struct{ name, stamp, kind atomic.Uint64 }
}

const noFile = poller.File(poller.NoFD)

const (
	noticePages = 8 // each upgrade takes the next one: four processes live at the most
	noticesMax  = 1 << 10
)

// newNotices makes notices that other processes may join.
func newNotices() (*notices, error) {
	file, err := poller.NewFile("edge-purges", false)
	if err != nil {
		return nil, err
	}
	n, err := joinNotices(file, 0)
	if err == nil {
		n.first = true
	}
	return n, err
}

// joinNotices takes over file, and uses a page of the board in it. What is there was heard.
func joinNotices(file poller.File, page int) (*notices, error) {
	memory, err := file.Map(int(unsafe.Sizeof(noticeBoard{})))
	if err != nil {
		file.Close()
		return nil, err
	}
	n := &notices{file: file, page: page}
	// SAFETY: the memory has the size of a board, begins with a page of the machine, and is there as long as n is.
	n.noticeBoard = (*noticeBoard)(unsafe.Pointer(unsafe.SliceData(memory)))
	n.heard.Store(n.total.Load())
	for i := range n.pages {
		n.seen[i] = n.pages[i].count.Load()
	}
	runtime.AddCleanup(n, poller.Unmap, memory)
	return n, nil
}

// close lets no other process join any more.
func (n *notices) close() {
	n.writing.Lock()
	defer n.writing.Unlock()
	if n.file != noFile {
		n.file.Close()
		n.file = noFile
	}
}

// tell tells the other processes what was purged.
func (n *notices) tell(all []disk.Purged) {
	n.writing.Lock()
	defer n.writing.Unlock()
	page := &n.pages[n.page]
	for _, p := range all {
		at := &page.purged[page.count.Load()%noticesMax]
		at.name.Store(p.Name)
		at.stamp.Store(p.Stamp)
		at.kind.Store(uint64(p.Kind))
		page.count.Add(1)
	}
	n.total.Add(uint64(len(all)))
}

// news reports whether another process may have purged something since hear was called.
func (n *notices) news() bool { return n.total.Load() != n.heard.Load() }

// hear calls take with what others have purged since the last call, once. If that is more than a page has, all is.
func (n *notices) hear(take func(p disk.Purged)) {
	n.reading.Lock()
	defer n.reading.Unlock()
	total := n.total.Load()
	for i := range n.pages {
		page, seen := &n.pages[i], &n.seen[i]
		for i != n.page && *seen < page.count.Load() {
			at := &page.purged[*seen%noticesMax]
			p := disk.Purged{Name: at.name.Load(), Stamp: at.stamp.Load(), Kind: uint32(at.kind.Load())}
			if count := page.count.Load(); count-*seen < noticesMax {
				*seen++
			} else { // p may be written over by now
				*seen, p = count, disk.Purged{Kind: disk.Everything, Stamp: n.last.Load()}
			}
			take(p)
		}
	}
	n.heard.Store(total)
}
