package static

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/exchange/content"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/tinyufo"
)

// What is held of files, by all folders of the process.
const (
	heldFiles = 10_000                // at most, each with its siblings
	heldMax   = 4 << 10               // bytes of a file that is held itself: beyond, sendfile costs less than a copy
	heldTime  = time.Minute           // that was not asked for
	validFor  = time.Second           // after which a file is looked at again before it is used
	settled   = 20 * time.Millisecond // without a change: time stamps of file systems have steps of up to 10 ms
)

// key is a path as requests have it, before it is decoded, in a folder.
type key struct {
	root uint64
	path string
}

// held has what the paths of plain requests lead to. Safe for any goroutine.
var held = sync.OnceValue(func() *tinyufo.Cache[key, *entry] {
	return tinyufo.New(tinyufo.Options[key, *entry]{
		Entries: heldEntries(), TTI: heldTime,
		OnEvict:   func(_ key, e *entry, _ tinyufo.Cause) { e.release() },
		OnReplace: func(_ key, e *entry) { e.release() },
	})
})

// heldEntries is how many files are held: they have half of the descriptors of the process at most, with siblings, and
// small ones a tenth of its memory.
func heldEntries() int {
	l := syscall.Rlimit{Cur: 1024}
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
	return int(min(max(min(l.Cur/8, uint64(engine.MemoryLimit()/16/heldMax)), 64), heldFiles))
}

// entry is a file as it was when it was looked at, with its siblings. Safe for any goroutine; immutable, but for what
// is atomic.
//
//	refs counts the table and every request by net/http: the last one gives the files back. A plain request has a
//	reference to its file
//	without forms there is no file, and requests go on to the fallback
type entry struct {
	at      *place
	forms   []form   // the file, and its siblings, as codings has them after the first
	codings []string // of the siblings
	refs    content.Refs
	account *engine.Reactor // that counts the bytes of forms; nil: they are not counted, they are of a file on disk

	looked atomic.Int64 // when, reactor time
	asked  atomic.Bool  // a goroutine is about to look again
}

// form is a file that may be sent. Immutable.
type form struct {
	coding   string // "": the file itself
	size     int64
	modified time.Time
	bytes    []byte        // all of it, where file is nil
	file     *content.File // of more than heldMax bytes

	tag, date string       // ETag, and Last-Modified or ""
	fields    http.Header  // those that are not http.ServeContent's
	whole     message.Head // of 200
	same      message.Head // of 304
}

// hold returns the entry for the file at, where name has led.
func (f *files) hold(name string, at *place, now int64) (*entry, error) {
	k := key{f.number, name}
	if e, ok := held().Get(k); ok && len(e.forms) > 0 && e.at.equal(at) && e.refs.Take() {
		e.looked.Store(max(e.looked.Load(), now))
		return e, nil
	}
	e := &entry{at: at}
	e.refs.Init()
	e.looked.Store(now)
	main, stays, err := f.formOf(at.path, "", at.info)
	if err != nil {
		return nil, err
	}
	e.forms = append(e.forms, main)
	for _, s := range at.beside {
		of, ok, err := f.formOf(s.path, s.coding, s.info)
		if stays = stays && ok; err == nil {
			e.forms, e.codings = append(e.forms, of), append(e.codings, s.coding)
		}
	}
	t, vary := f.typeOf(at.path, &main), ""
	if len(at.beside) > 0 {
		vary = "Accept-Encoding"
	}
	for i := range e.forms {
		e.forms[i].head(t, cacheControl(f.CacheControl, at.path), vary)
	}
	if stays && e.refs.Take() {
		held().Set(k, e)
	} else {
		held().Delete(k) // what was there is no longer so
	}
	return e, nil
}

// formOf opens a file that stat has seen. stays: another change of it would be seen, too.
func (f *files) formOf(p, coding string, seen os.FileInfo) (of form, stays bool, err error) {
	file, err := f.open(p)
	if err != nil {
		return of, false, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNone
	}
	if err != nil {
		file.Close()
		return of, false, err
	}
	of = form{coding: coding, size: info.Size(), modified: info.ModTime().Truncate(time.Second)}
	of.tag = fmt.Sprintf(`"%x-%x`, info.ModTime().UnixNano(), of.size)
	if coding != "" {
		of.tag += "-" + coding
	}
	if of.tag += `"`; of.size > heldMax {
		if of.file, err = content.NewFile(file); err == nil && of.file.Size() < of.size {
			of.file.Close()
			return of, false, errChanges
		}
	} else {
		of.bytes = make([]byte, of.size)
		if _, err = file.ReadAt(of.bytes, 0); err == io.EOF {
			err = errChanges
		}
	}
	if of.file == nil {
		file.Close()
	}
	return of, equal(info, seen) && time.Since(changed(info)) > settled, err
}

// typeOf returns the content type of a file, by its first bytes where its name does not say it.
func (f *files) typeOf(p string, main *form) string {
	t := typeOf(p, f.Charset)
	if t == "" {
		first := make([]byte, 512) // as many as are looked at
		n, _ := io.ReadFull(main.reader(), first)
		t = http.DetectContentType(first[:n])
	}
	return t
}

// head makes the heads of f.
func (f *form) head(contentType, cacheControl, vary string) {
	f.fields = http.Header{"Content-Type": {contentType}, "Etag": {f.tag}}
	if cacheControl != "" {
		f.fields["Cache-Control"] = []string{cacheControl}
	}
	if vary != "" {
		f.fields["Vary"] = []string{vary}
	}
	same := maps.Clone(f.fields)
	delete(same, "Content-Type")
	if f.coding != "" {
		f.fields["Content-Encoding"] = []string{f.coding}
	}
	whole := maps.Clone(f.fields)
	whole["Accept-Ranges"] = []string{"bytes"}
	if f.modified.Unix() != 0 { // as http.ServeContent has it
		f.date = f.modified.UTC().Format(http.TimeFormat)
		whole["Last-Modified"] = []string{f.date}
	}
	if f.size == 0 {
		whole["Content-Length"] = []string{"0"} // HTTP/2 tells it of no other answer without a body
	}
	f.whole, f.same = headOf(http.StatusOK, whole), headOf(http.StatusNotModified, same)
	f.whole.Length = f.size
}

// headOf returns a head with fields in the order of their names, as package handler has them.
func headOf(status uint16, fields http.Header) message.Head {
	h := message.Head{Status: status, Proto: message.HTTP11}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		h.Add(name, fields.Get(name))
	}
	return h
}

// reader reads the file.
func (f *form) reader() io.ReadSeeker {
	if f.file == nil {
		return bytes.NewReader(f.bytes)
	}
	return io.NewSectionReader(f.file, 0, f.size)
}

// release gives a reference back.
func (e *entry) release() {
	if !e.refs.Drop() {
		return
	}
	for i := range e.forms {
		if of := e.forms[i].file; of != nil {
			of.Close()
		}
	}
	e.charge(-1)
}

// charge adds the bytes of a list to its account, or takes them from it where sign is -1.
func (e *entry) charge(sign int) {
	if e.account != nil {
		n := sign * int(e.forms[0].size)
		e.account.Post(&engine.Task{Run: func(r *engine.Reactor) { r.Account(n) }})
	}
}

// equal reports whether p and o are the same files, unchanged.
func (p *place) equal(o *place) bool {
	same := func(a, b beside) bool { return a.path == b.path && equal(a.info, b.info) }
	return p.path == o.path && equal(p.info, o.info) && slices.EqualFunc(p.beside, o.beside, same)
}

func equal(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && changed(a).Equal(changed(b))
}

// changed returns when a file, or what is known of it, has changed.
func changed(info os.FileInfo) time.Time {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return info.ModTime()
	}
	return time.Unix(s.Ctim.Unix())
}
