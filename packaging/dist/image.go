package main

import (
	"bytes"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// nonroot is the user in the image, and the owner of the folders that it writes to.
const nonroot = 65532

// image makes an OCI image layout, as a tar archive, of an image for each architecture: what the Dockerfile makes,
// without a daemon. The authorities come from a module of Go rather than from this machine.
func (r *release) image(b binaries) error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range r.archs {
		img, err := r.imageOf(arch, b[arch]["edge"])
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
			MediaType: types.OCIManifestSchema1, Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	work, err := os.MkdirTemp("", "edge-image")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // nothing is lost with it
	to, err := layout.Write(work, empty.Index)
	if err != nil {
		return err
	}
	// As BuildKit names an image in a layout: by its tag, and whole for those who load it.
	name := map[string]string{"org.opencontainers.image.ref.name": r.version,
		"io.containerd.image.name": "docker.io/library/edge:" + r.version}
	if err := to.AppendIndex(index, layout.WithAnnotations(name)); err != nil {
		return err
	}
	content, err := readTree(work)
	if err != nil {
		return err
	}
	text, err := writeTar("", content, r.when)
	if err != nil {
		return err
	}
	return write(filepath.Join(r.out, "edge-image-"+r.version+".tar"), text)
}

// imageOf returns the image of an architecture. What seldom changes is the first layer.
func (r *release) imageOf(arch, binary string) (v1.Image, error) {
	base := map[string]file{
		"etc/ssl/certs/ca-certificates.crt": {text: authorities(), mode: 0o644},
		"var/lib/edge":                      {folder: true, owner: nonroot},
		"run/edge":                          {folder: true, owner: nonroot},
	}
	if err := r.read(base, "etc/edge/edge.toml", "packaging/docker/edge.toml"); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, content := range []map[string]file{base, {"usr/local/bin/edge": {text: text, mode: 0o755}}} {
		layer, err := r.layer(content)
		if err != nil {
			return nil, err
		}
		img, err = mutate.Append(img, mutate.Addendum{Layer: layer,
			History: v1.History{Created: v1.Time{Time: r.when}, CreatedBy: "edge packaging/dist"}})
		if err != nil {
			return nil, err
		}
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", arch, v1.Time{Time: r.when}
	config.Config = r.config()
	return mutate.ConfigFile(img, config)
}

// config says what the last stage of the Dockerfile says.
func (r *release) config() v1.Config {
	return v1.Config{
		User: "65532:65532", Env: []string{"STATE_DIRECTORY=/var/lib/edge"},
		ExposedPorts: map[string]struct{}{"80/tcp": {}, "443/tcp": {}, "443/udp": {}},
		Healthcheck: &v1.HealthConfig{Test: []string{"CMD", "/usr/local/bin/edge", "status", "--live"},
			Interval: 10 * time.Second, Timeout: 5 * time.Second},
		Entrypoint: []string{"/usr/local/bin/edge"}, Cmd: []string{"run", "-c", "/etc/edge/edge.toml"},
		Labels: map[string]string{
			"org.opencontainers.image.title": "edge", "org.opencontainers.image.version": r.version,
			"org.opencontainers.image.revision": r.commit, "org.opencontainers.image.licenses": "Apache-2.0",
			"org.opencontainers.image.source": home,
		},
	}
}

func (r *release) layer(content map[string]file) (v1.Layer, error) {
	text, err := writeTar("", content, r.when)
	if err == nil {
		text, err = compressed(text)
	}
	if err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil },
		tarball.WithMediaType(types.OCILayer))
}

// authorities returns the certificates that Mozilla trusts without a condition: a file of PEM cannot say one.
func authorities() []byte {
	var b []byte
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})...)
		}
	}
	return b
}
