package static

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// listedMax bounds the names of a list.
const listedMax = 10_000

// listed is a row of a list.
type listed struct {
	Name     string    `json:"name"`
	Folder   bool      `json:"folder"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
}

// list answers with the names of a folder.
func (f *files) list(w http.ResponseWriter, r *http.Request, at *place) {
	folder, err := f.open(at.path)
	if err != nil {
		panic(cmp.Or(failure(err), notFound))
	}
	defer folder.Close()
	if c := cacheControl(f.CacheControl, at.path); c != "" {
		w.Header().Set("Cache-Control", c)
	}
	entries, err := folder.ReadDir(listedMax)
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

// writeList answers with the rows of a folder: a page, or JSON where Accept names that and no page. more: there are
// others.
func writeList(w http.ResponseWriter, r *http.Request, rows []listed, more bool) {
	slices.SortFunc(rows, func(a, b listed) int { return cmp.Compare(a.Name, b.Name) })
	h := w.Header()
	h.Set("Vary", "Accept")
	accept := r.Header.Get("Accept")
	if strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/html") {
		h.Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(rows) // the client has gone
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	folder := html.EscapeString(strings.TrimSuffix(r.URL.Path, "/") + "/")
	fmt.Fprintf(w, pageHead, folder, folder)
	if r.URL.Path != "/" {
		fmt.Fprint(w, `<tr><td><a href="../">../</a><td><td>`+"\n")
	}
	for _, row := range rows {
		slash, size := "/", ""
		if !row.Folder {
			slash, size = "", strconv.FormatInt(row.Size, 10)
		}
		link, name := html.EscapeString(url.PathEscape(row.Name)), html.EscapeString(row.Name)
		fmt.Fprintf(w, `<tr><td><a href="./%s%s">%s%s</a><td>%s<td>%s`+"\n", link, slash, name, slash, size,
			row.Modified.Format("2006-01-02 15:04"))
	}
	if fmt.Fprint(w, "</table>\n"); more {
		fmt.Fprintf(w, "<p>These are the first %d.\n", listedMax)
	}
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
