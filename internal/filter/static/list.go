package static

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/exchange/content"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
)

const (
	listedMax = 10_000 // names of a list
	listsMax  = 4      // lists that are made at a time
)

// listed is a row of a list.
type listed struct {
	Name     string    `json:"name"`
	Folder   bool      `json:"folder"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
}

// listKey has all that the text of a list depends on.
type listKey struct {
	root   uint64
	folder string
	asked  string // the path that a page shows; "": the list is JSON
}

// list is the list of a folder. Its text is made once for all requests of a second.
type list struct {
	made  chan struct{} // closed when the others are set
	entry *entry        // nil: why says why
	why   *proxy.Error
}

// lists has those that are being made, or were made within the last second, by all folders of the process.
var lists = struct {
	sync.Mutex
	of     map[listKey]*list // guarded by Mutex
	making int               // guarded by Mutex
}{of: map[listKey]*list{}}

// list returns a list, with a reference, whose bytes the account of r counts. short: memory is, and none is made. It
// blocks.
func (f *files) list(k listKey, r *engine.Reactor, short bool) (*entry, *proxy.Error) {
	for {
		lists.Lock()
		l := lists.of[k]
		makes := l == nil
		if makes && (short || lists.making == listsMax) {
			lists.Unlock()
			return nil, proxy.ListsBusy
		}
		if makes {
			l = &list{made: make(chan struct{}), why: proxy.Internal} // where making panics
			lists.of[k] = l
			lists.making++
		}
		if lists.Unlock(); makes {
			f.makeList(l, k, r)
		}
		if <-l.made; l.entry == nil || l.entry.refs.Take() {
			return l.entry, l.why
		}
	}
}

// makeList makes l, which others wait for, and has it forgotten after a second.
func (f *files) makeList(l *list, k listKey, r *engine.Reactor) {
	defer func() {
		lists.Lock()
		lists.making--
		lists.Unlock()
		close(l.made)
		time.AfterFunc(validFor, func() {
			lists.Lock()
			delete(lists.of, k)
			lists.Unlock()
			if l.entry != nil {
				l.entry.release()
			}
		})
	}()
	var text bytes.Buffer
	err := f.writeList(&text, &k)
	if err == nil {
		l.entry, err = f.holdList(text.Bytes(), &k, r)
	}
	if l.why = nil; err != nil {
		l.why = cmp.Or(failure(err), notFound)
	}
}

// holdList returns the entry of a list. A long text is in a file in memory, which the kernel sends to all clients.
func (f *files) holdList(text []byte, k *listKey, r *engine.Reactor) (*entry, error) {
	of := form{bytes: text, size: int64(len(text)), modified: time.Unix(0, 0)} // the time is not told
	if len(text) > heldMax {
		memory, err := poller.NewFile("edge-list", false)
		if err != nil {
			return nil, err
		}
		file := os.NewFile(uintptr(memory), "edge-list")
		if _, err = file.Write(text); err == nil {
			of.file, err = content.NewFile(file)
		}
		if of.bytes = nil; err != nil {
			file.Close()
			return nil, err
		}
	}
	of.tag = fmt.Sprintf(`"%x"`, sha256.Sum256(text))
	contentType := "text/html; charset=utf-8"
	if k.asked == "" {
		contentType = "application/json"
	}
	of.head(contentType, cacheControl(f.CacheControl, k.folder), "Accept")
	e := &entry{forms: []form{of}, account: r}
	e.refs.Init()
	e.charge(1)
	return e, nil
}

// writeList writes a page, or JSON.
func (f *files) writeList(to *bytes.Buffer, k *listKey) error {
	folder, err := f.open(k.folder)
	if err != nil {
		return err
	}
	names, err := folder.Readdirnames(listedMax)
	folder.Close()
	if err != nil && len(names) == 0 && failure(err) != nil {
		return err
	}
	slices.Sort(names)
	write, end := writeObject, "]\n"
	if k.asked == "" {
		to.WriteByte('[')
	} else {
		writeHead(to, k.asked)
		write, end = writeRow, "</table>\n"
		if len(names) == listedMax {
			end += fmt.Sprintf("<p>These are the first %d.\n", listedMax)
		}
	}
	for _, name := range names {
		if strings.HasPrefix(name, ".") && !f.Hidden {
			continue
		}
		info, err := f.root.Stat(strings.TrimPrefix(path.Join(k.folder, name), "/")) // a link is what it leads to
		if err != nil || !info.Mode().IsRegular() && !info.IsDir() {
			continue
		}
		row := listed{Name: name, Folder: info.IsDir(), Modified: info.ModTime().UTC().Truncate(time.Second)}
		if !row.Folder {
			row.Size = info.Size()
		}
		write(to, &row)
	}
	to.WriteString(end)
	return nil
}

// writeObject writes a row of JSON.
func writeObject(to *bytes.Buffer, row *listed) {
	if to.Len() > 1 {
		to.WriteByte(',')
	}
	object, _ := json.Marshal(row)
	to.Write(object)
}

// writeHead writes the head of the page for the path asked.
func writeHead(to *bytes.Buffer, asked string) {
	folder := html.EscapeString(strings.TrimSuffix(asked, "/") + "/")
	fmt.Fprintf(to, pageHead, folder, folder)
	if asked != "/" {
		to.WriteString(`<tr><td><a href="../">../</a><td><td>` + "\n")
	}
}

// writeRow writes a row of a page.
func writeRow(to *bytes.Buffer, row *listed) {
	slash, size := "/", ""
	if !row.Folder {
		slash, size = "", strconv.FormatInt(row.Size, 10)
	}
	link, name := html.EscapeString(url.PathEscape(row.Name)), html.EscapeString(row.Name)
	fmt.Fprintf(to, `<tr><td><a href="./%s%s">%s%s</a><td>%s<td>%s`+"\n", link, slash, name, slash, size,
		row.Modified.Format("2006-01-02 15:04"))
}

const pageHead = `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>%s</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.2rem; overflow-wrap: anywhere }
table { width: 100%%; border-collapse: collapse }
td { padding: .2rem .5rem; border-top: 1px solid #8884; overflow-wrap: anywhere }
td + td { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
</style>
<h1>%s</h1>
<table>
`
