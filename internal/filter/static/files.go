package static

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/proxy"
)

func init() {
	plugin.Register(plugin.Destinations, "static", "Answers with the files of a folder.", New)
}

// New opens the folder of c and returns the destination.
func New(c *Config, _ *plugin.Build) (proxy.Destination, error) {
	root, err := os.OpenRoot(c.Root)
	if err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	at, err := root.Stat(".")
	if err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	of := at.Sys().(*syscall.Stat_t)
	f := &files{Config: *c, root: root, number: maphash.String(roots, fmt.Sprintf("%#v %d %d", *c, of.Dev, of.Ino))}
	if f.Charset == "off" {
		f.Charset = ""
	}
	return f, nil
}

// files is a folder as a proxy.Destination. Immutable.
type files struct {
	Config
	root   *os.Root // closed by the runtime, when no request uses it any more
	number uint64   // the same for one folder with one Config: what is held of it outlives a reload
}

var roots = maphash.MakeSeed()

// Why there is no file.
var (
	notFound = proxy.NewError(proxy.Error{Kind: "no_file", From: proxy.SideProxy, Status: http.StatusNotFound,
		Token: "destination_not_found", Text: "There is nothing at this address."})
	forbidden = proxy.NewError(proxy.Error{Kind: "no_access", From: proxy.SideProxy, Status: http.StatusForbidden,
		Token: "http_request_denied", Text: "This may not be read."})
	failed = proxy.NewError(proxy.Error{Kind: "disk", From: proxy.SideProxy, Status: http.StatusInternalServerError,
		Token: "proxy_internal_error", Text: "The file cannot be read."})
)

var errChanges = errors.New("the file has become shorter while it is read")

// failure returns the answer to an error of the file system; nil: there is no such file.
func failure(err error) *proxy.Error {
	switch {
	case errors.Is(err, os.ErrPermission):
		return forbidden
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM):
		return proxy.Overload
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.ESTALE), errors.Is(err, syscall.ETIMEDOUT),
		errors.Is(err, errChanges):
		return failed
	}
	return nil
}

// place is what a path leads to. Immutable.
type place struct {
	path     string // below the root, with a slash before it
	asked    string // what the request has named
	info     os.FileInfo
	redirect bool     // it is a folder, and the path lacks a slash at its end
	beside   []beside // it, the best first
}

// beside is a sibling of a file: what may be sent in place of it.
type beside struct {
	coding, path string
	info         os.FileInfo
}

// locate looks for what u asks for, or says why there is nothing. It blocks.
func (f *files) locate(u *url.URL) (*place, *proxy.Error) {
	asked, ok := f.named(u)
	if !ok {
		return nil, notFound
	}
	why := notFound
	for _, p := range f.Try {
		if strings.HasSuffix(asked, "/") && strings.Contains(p, "{path}.") {
			continue // a name that begins with a dot
		}
		at, err := f.find(strings.ReplaceAll(p, "{path}", asked), p == "{path}")
		if err == nil {
			at.asked = asked
			return at, nil
		}
		switch e := failure(err); e {
		case nil:
		case forbidden:
			why = e
		default: // whether it is there is not known, so that nothing else may answer
			return nil, e
		}
	}
	return nil, why
}

// named returns the path that u asks for, clean but for a slash at its end. It reports false where that names nothing.
func (f *files) named(u *url.URL) (asked string, ok bool) {
	p, escaped := u.Path, strings.ToLower(u.EscapedPath())
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

var errNone = errors.New("no such file")

// find looks for a path. A folder is found where it has a file of index or is listed. itself: it is the path that was
// asked for.
func (f *files) find(p string, itself bool) (*place, error) {
	at, err := f.stat(p)
	if err != nil {
		return nil, err
	}
	slash := strings.HasSuffix(p, "/")
	if !at.info.IsDir() {
		if slash {
			return nil, errNone
		}
		f.findBeside(at)
		return at, nil
	}
	redirect := itself && !slash
	for _, name := range f.Index {
		index, err := f.stat(path.Join(p, name))
		if err == nil && !index.info.IsDir() {
			if index.redirect = redirect; !redirect {
				f.findBeside(index)
			}
			return index, nil
		}
		if err != nil && failure(err) != nil {
			return nil, err
		}
	}
	if f.Listing {
		at.redirect = redirect
		return at, nil
	}
	return nil, errNone
}

// siblings are what a file may have beside it, by their content codings, the best first.
var siblings = [...]struct{ coding, ending string }{{"zstd", ".zst"}, {"br", ".br"}, {"gzip", ".gz"}}

// findBeside looks for the siblings of a file.
func (f *files) findBeside(at *place) {
	for _, s := range siblings {
		if info, err := f.root.Stat(at.path[1:] + s.ending); err == nil && info.Mode().IsRegular() {
			at.beside = append(at.beside, beside{s.coding, at.path + s.ending, info})
		}
	}
}

// stat looks at a file or a folder below the root.
func (f *files) stat(p string) (*place, error) {
	p = path.Join("/", p)
	info, err := f.root.Stat(inRoot(p))
	if err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		err = errNone
	}
	if err != nil {
		return nil, err
	}
	return &place{path: p, info: info}, nil
}

// inRoot returns the name of a path for os.Root.
func inRoot(p string) string { return cmp.Or(p[1:], ".") }

// open opens a file or a folder that stat has seen: to open a FIFO or a device may wait, or do something.
func (f *files) open(p string) (*os.File, error) {
	return f.root.OpenFile(inRoot(p), os.O_RDONLY|syscall.O_NONBLOCK, 0)
}
