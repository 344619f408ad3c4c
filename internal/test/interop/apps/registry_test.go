//go:build apps

package apps

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// TestRegistry pushes an image and pulls it, as docker does it: a layer is one chunked PATCH.
func TestRegistry(t *testing.T) {
	a := begin(t, "docker-registry")
	path := a.need("docker-registry", "docker-registry")
	a.versionOf(path, "--version")
	address, dir := testutil.FreeAddr(t), t.TempDir()
	a.write(filepath.Join(dir, "config.yml"), fmt.Sprintf(`
version: 0.1
log: { accesslog: { disabled: true } }
storage:
  filesystem: { rootdirectory: %s }
  delete: { enabled: true }
http: { addr: %q, secret: interop }
`, filepath.Join(dir, "data"), address))
	a.start(testutil.Command{Path: path, Args: []string{"serve", filepath.Join(dir, "config.yml")}}).WaitPort(address)
	a.frontAll(address)

	layer, config := noise(60e6, 6), []byte(`{"architecture":"amd64","os":"linux"}`)
	a.ask("the version", all, get("/v2/"))
	a.ask("an image that is not there", all, get("/v2/nobody/manifests/latest"))
	a.ask("push of a layer of 60 MB", all, func(t *testing.T, w *way) string { return pushBlob(t, w, layer) })
	a.ask("push of a configuration", all, func(t *testing.T, w *way) string { return pushBlob(t, w, config) })
	a.ask("push of a manifest", all, func(t *testing.T, w *way) string {
		const kind = "application/vnd.oci.image.manifest.v1+json"
		manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,`+
			`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},`+
			`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}]}`,
			kind, digest(config), len(config), digest(layer), len(layer))
		path := image(w) + "manifests/latest"
		put := w.do(t, request{
			method: "PUT", path: path, body: strings.NewReader(manifest), fields: []string{"Content-Type", kind},
		})
		return put.tell(w) + w.do(t, request{path: path, fields: []string{"Accept", kind}}).tell(w)
	})
	a.ask("pull", all, func(t *testing.T, w *way) string {
		return w.do(t, request{path: image(w) + "blobs/" + digest(layer)}).tell(w) +
			w.do(t, request{path: image(w) + "blobs/" + digest(config)}).tell(w)
	})
	a.ask("pull of the rest of a layer", all, func(t *testing.T, w *way) string {
		return w.do(t, request{
			path: image(w) + "blobs/" + digest(layer), fields: []string{"Range", "bytes=50000000-"},
		}).tell(w)
	})
	a.ask("tags", all, func(t *testing.T, w *way) string {
		return string(w.do(t, request{path: image(w) + "tags/list"}).body)
	})
	a.ask("delete", all, func(t *testing.T, w *way) string {
		path := image(w) + "blobs/" + digest(config)
		return w.do(t, request{method: "DELETE", path: path}).tell(w) +
			w.do(t, request{method: "HEAD", path: path}).tell(w)
	})
}

// image is the path of the image of a way.
func image(w *way) string { return "/v2/interop/" + w.slug + "/" }

func digest(blob []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(blob)) }

// pushBlob begins an upload, sends blob without its length and ends the upload with the sum; each answer names the
// place of the next request by an URL.
func pushBlob(t *testing.T, w *way, blob []byte) string {
	begun := w.do(t, request{method: "POST", path: image(w) + "blobs/uploads/"})
	told := fmt.Sprintln(begun.status, place(t, w, begun))
	sent := w.do(t, request{
		method: "PATCH", path: begun.header.Get("Location"), body: chunked(blob),
		fields: []string{"Content-Type", "application/octet-stream"},
	})
	told += fmt.Sprintln(sent.status, sent.header.Get("Range"), place(t, w, sent))
	ended := w.do(t, request{method: "PUT", path: sent.header.Get("Location") + "&digest=" + digest(blob)})
	told += fmt.Sprintln(ended.status, ended.header.Get("Docker-Content-Digest"), place(t, w, ended))
	return told + w.do(t, request{method: "HEAD", path: image(w) + "blobs/" + digest(blob)}).tell(w)
}

// place is where an answer leads to, without the name of an upload.
func place(t *testing.T, w *way, r *reply) string {
	location, prefix := r.header.Get("Location"), w.url+image(w)+"blobs/"
	if !strings.HasPrefix(location, prefix) {
		t.Errorf("%d %s leads to %q, want %s…", r.status, r.body, location, prefix)
	}
	return prefix
}
