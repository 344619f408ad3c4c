package static

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/plugin"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
)

func init() {
	plugin.Register(plugin.Destinations, "static", "Answers with the files of a folder.", New)
}

// New opens the folder of c and returns the destination.
func New(c *Config, b *plugin.Build) (proxy.Destination, error) {
	c, err := plugin.Completed(c, b)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(c.Root)
	if err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	f := &files{Config: *c, root: root}
	if f.Charset == "off" {
		f.Charset = ""
	}
	return handler.FromHTTP(f), nil
}

// files is a folder as an http.Handler. Immutable.
type files struct {
	Config
	root *os.Root // closed by the runtime, when no request uses it any more
}

// Why there is no file.
var (
	notFound = proxy.NewError(proxy.Error{Kind: "no_file", From: proxy.SideProxy, Status: http.StatusNotFound,
		Token: "destination_not_found", Text: "There is nothing at this address."})
	forbidden = proxy.NewError(proxy.Error{Kind: "no_access", From: proxy.SideProxy, Status: http.StatusForbidden,
		Token: "http_request_denied", Text: "This may not be read."})
	failed = proxy.NewError(proxy.Error{Kind: "disk", From: proxy.SideProxy, Status: http.StatusInternalServerError,
		Token: "proxy_internal_error", Text: "The file cannot be read."})
)

// failure returns the answer to an error of the file system; nil: there is no such file.
func failure(err error) *proxy.Error {
	switch {
	case errors.Is(err, os.ErrPermission):
		return forbidden
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM):
		return proxy.Overload
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.ESTALE), errors.Is(err, syscall.ETIMEDOUT):
		return failed
	}
	return nil
}

// ServeHTTP answers a request. It ends it by a panic where there is no file: see handler.FromHTTP.
func (f *files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	asked, ok := f.named(r)
	if !ok {
		panic(notFound)
	}
	why := notFound
	for _, p := range f.Try {
		if strings.HasSuffix(asked, "/") && strings.Contains(p, "{path}.") {
			continue // a name that begins with a dot
		}
		found, err := f.find(strings.ReplaceAll(p, "{path}", asked), p == "{path}")
		if err == nil {
			f.answer(w, r, found)
			return
		}
		switch e := failure(err); e {
		case nil:
		case forbidden:
			why = e
		default: // nobody knows whether it is there, so that nothing else may answer
			panic(e)
		}
	}
	panic(why)
}

// named returns the path that r asks for, clean but for a slash at its end. It reports false where that names nothing.
func (f *files) named(r *http.Request) (asked string, ok bool) {
	p, escaped := r.URL.Path, strings.ToLower(r.URL.EscapedPath())
	if !strings.HasPrefix(p, "/") || strings.ContainsAny(p, "\x00\\") || strings.Contains(escaped, "%2f") {
		return "", false
	}
	for i, name := range strings.Split(p[1:], "/") {
		switch {
		case name == "." || name == "..":
			return "", false
		case strings.HasPrefix(name, ".") && !f.Hidden && (i > 0 || name != ".well-known"):
			return "", false
		}
	}
	asked = path.Clean(p)
	if asked != "/" && strings.HasSuffix(p, "/") {
		asked += "/"
	}
	return asked, true
}

// found is what a path leads to.
type found struct {
	*os.File
	os.FileInfo
	path     string // below the root, with a slash before it
	redirect bool   // it is a folder, and the path lacks a slash at its end
}

var errNone = errors.New("no such file")

// find looks for a path. A folder is found where it has a file of index or is listed. itself: it is the path that was
// asked for.
func (f *files) find(p string, itself bool) (*found, error) {
	at, err := f.open(p)
	if err != nil {
		return nil, err
	}
	slash := strings.HasSuffix(p, "/")
	if !at.IsDir() {
		if slash {
			at.Close()
			return nil, errNone
		}
		return at, nil
	}
	for _, name := range f.Index {
		index, err := f.open(path.Join(p, name))
		if err == nil && index.IsDir() {
			index.Close()
			err = errNone
		}
		if err == nil {
			at.Close()
			index.redirect = itself && !slash
			return index, nil
		}
		if failure(err) != nil {
			at.Close()
			return nil, err
		}
	}
	if f.Listing {
		at.redirect = itself && !slash
		return at, nil
	}
	at.Close()
	return nil, errNone
}

// open opens a file or a folder below the root. A FIFO or a device is looked at first, since opening one may wait, or
// do something.
func (f *files) open(p string) (*found, error) {
	name := strings.Trim(p, "/")
	if name == "" {
		name = "."
	}
	info, err := f.root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() && !info.IsDir() {
		return nil, errNone
	}
	file, err := f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err = file.Stat(); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		err = errNone // it has changed meanwhile
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return &found{File: file, FileInfo: info, path: path.Join("/", name)}, nil
}

// rangesMax bounds the ranges of a request: beyond them it gets the whole file.
const rangesMax = 100

// answer answers with a file, a list, or where the folder is.
func (f *files) answer(w http.ResponseWriter, r *http.Request, at *found) {
	defer func() { at.Close() }()
	if at.redirect {
		redirect(w, r)
		return
	}
	h := w.Header()
	if v := cacheControl(f.CacheControl, at.path); v != "" {
		h.Set("Cache-Control", v)
	}
	if at.IsDir() {
		f.list(w, r, at)
		return
	}
	if t := typeOf(at.path, f.Charset); t != "" {
		h.Set("Content-Type", t)
	}
	suffix := ""
	if sibling, coding := f.sibling(r, at.path, h); sibling != nil {
		at.Close()
		at, suffix = sibling, "-"+coding
		h.Set("Content-Encoding", coding)
		h.Set("Content-Length", strconv.FormatInt(at.Size(), 10)) // http.ServeContent leaves it out
	}
	h.Set("ETag", fmt.Sprintf(`"%x-%x%s"`, at.ModTime().UnixNano(), at.Size(), suffix))
	if ranges := r.Header["Range"]; len(ranges) > 1 || len(ranges) == 1 && strings.Count(ranges[0], ",") >= rangesMax {
		r.Header.Del("Range")
	}
	http.ServeContent(w, r, "", at.ModTime().Truncate(time.Second), at.File)
}

// redirect leads to the folder with a slash at its end. The Location is relative: a route may have taken a prefix off.
func redirect(w http.ResponseWriter, r *http.Request) {
	to := "./" + path.Base(r.URL.EscapedPath()) + "/"
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusMovedPermanently)
}

// siblings are what a file may have beside it, by their content codings, the best first.
var siblings = [...]struct{ coding, ending string }{{"zstd", ".zst"}, {"br", ".br"}, {"gzip", ".gz"}}

// sibling opens the file beside p that the client wants most; nil: it wants none of them.
func (f *files) sibling(r *http.Request, p string, h http.Header) (at *found, coding string) {
	var offered []string
	var endings []string
	for _, s := range siblings {
		if info, err := f.root.Stat(p[1:] + s.ending); err == nil && info.Mode().IsRegular() {
			offered, endings = append(offered, s.coding), append(endings, s.ending)
		}
	}
	if len(offered) == 0 {
		return nil, ""
	}
	h.Add("Vary", "Accept-Encoding")
	i := message.PreferredIn(r.Header["Accept-Encoding"], offered...)
	if i < 0 {
		return nil, ""
	}
	at, err := f.open(p + endings[i])
	if err != nil || at.IsDir() {
		return nil, ""
	}
	return at, offered[i]
}

// list answers with the names of a folder.
func (f *files) list(w http.ResponseWriter, r *http.Request, at *found) {
	entries, err := at.ReadDir(listedMax)
	if err != nil && len(entries) == 0 && failure(err) != nil {
		panic(failure(err))
	}
	rows := []listed{}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && !f.Hidden {
			continue
		}
		info, err := f.root.Stat(strings.TrimPrefix(path.Join(at.path, e.Name()), "/")) // a link is what it leads to
		if err != nil || !info.Mode().IsRegular() && !info.IsDir() {
			continue
		}
		row := listed{Name: e.Name(), Folder: info.IsDir(), Modified: info.ModTime().UTC().Truncate(time.Second)}
		if !row.Folder {
			row.Size = info.Size()
		}
		rows = append(rows, row)
	}
	writeList(w, r, rows, len(entries) == listedMax)
}
