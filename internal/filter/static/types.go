package static

import (
	"mime"
	"path"
	"strings"
)

// types are those that package mime does not have everywhere. Where neither has one, http.ServeContent looks at the
// file.
var types = map[string]string{
	".txt": "text/plain", ".md": "text/markdown", ".csv": "text/csv", ".ics": "text/calendar", ".vtt": "text/vtt",
	".map": "application/json", ".webmanifest": "application/manifest+json", ".yaml": "application/yaml",
	".yml": "application/yaml", ".rss": "application/rss+xml", ".atom": "application/atom+xml",
	".zip": "application/zip", ".gz": "application/gzip", ".tgz": "application/gzip", ".zst": "application/zstd",
	".tar": "application/x-tar", ".ico": "image/x-icon", ".bmp": "image/bmp", ".tif": "image/tiff",
	".tiff": "image/tiff", ".apng": "image/apng", ".woff": "font/woff", ".woff2": "font/woff2", ".ttf": "font/ttf",
	".otf": "font/otf", ".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".ogg": "audio/ogg", ".oga": "audio/ogg",
	".opus": "audio/ogg", ".wav": "audio/wav", ".flac": "audio/flac", ".mp4": "video/mp4", ".m4v": "video/mp4",
	".webm": "video/webm", ".ogv": "video/ogg", ".mov": "video/quicktime",
}

// typeOf returns the content type of a file; "": it is not known by its name.
func typeOf(name, charset string) string {
	ending := strings.ToLower(path.Ext(name))
	t, ok := types[ending]
	if !ok {
		t, _, _ = strings.Cut(mime.TypeByExtension(ending), ";")
	}
	if strings.HasPrefix(t, "text/") && charset != "" {
		t += "; charset=" + charset
	}
	return t
}

// cacheControl returns what the longest pattern that a path fits says.
func cacheControl(by map[string]string, p string) (value string) {
	longest := -1
	for pattern, v := range by {
		fits := pattern == p
		if before, after, star := strings.Cut(pattern, "*"); star {
			fits = strings.HasPrefix(p, before) && strings.HasSuffix(p, after)
		}
		if fits && len(pattern) > longest {
			longest, value = len(pattern), v
		}
	}
	return value
}
