package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// imageFrom returns the image of this machine's architecture in a layout that image has made.
func imageFrom(t *testing.T, archive string) v1.Image {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("tar", "xf", archive, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	outer, err := layout.ImageIndexFromPath(dir)
	testutil.Must(t, err)
	named, err := outer.IndexManifest()
	testutil.Must(t, err)
	if len(named.Manifests) != 1 || named.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != "1.2.3" {
		t.Fatalf("%+v", named.Manifests)
	}
	index, err := outer.ImageIndex(named.Manifests[0].Digest)
	testutil.Must(t, err)
	all, err := index.IndexManifest()
	testutil.Must(t, err)
	for _, m := range all.Manifests {
		if m.Platform.OS == "linux" && m.Platform.Architecture == runtime.GOARCH {
			image, err := index.Image(m.Digest)
			testutil.Must(t, err)
			return image
		}
	}
	t.Fatalf("no image for %s: %+v", runtime.GOARCH, all.Manifests)
	return nil
}

// The image is made without a daemon, is the same when it is made again, and has the files, owners and configuration
// that the Dockerfile gives it.
func TestImage(t *testing.T) {
	r := of(t)
	program := filepath.Join(t.TempDir(), "edge")
	testutil.Must(t, os.WriteFile(program, []byte("a program"), 0o600)) // edge itself would take seconds
	programs := binaries{runtime.GOARCH: {"edge": program}}
	testutil.Must(t, r.image(programs))
	archive := filepath.Join(r.out, "edge-image-1.2.3.tar")
	first := read(t, archive)
	testutil.Must(t, r.image(programs))
	if !bytes.Equal(first, read(t, archive)) {
		t.Error("another image of the same binary")
	}
	image := imageFrom(t, archive)
	config, err := image.ConfigFile()
	testutil.Must(t, err)
	if config.OS != "linux" || config.Architecture != runtime.GOARCH || !config.Created.Equal(r.when) {
		t.Errorf("%+v", config)
	}
	sameAsDockerfile(t, &config.Config)
	all := map[string]string{}
	for files := tar.NewReader(mutate.Extract(image)); ; {
		h, err := files.Next()
		if err == io.EOF {
			break
		}
		testutil.Must(t, err)
		text, err := io.ReadAll(files)
		testutil.Must(t, err)
		all[strings.Trim(h.Name, "/")] = string(text)
		owned := strings.HasSuffix(h.Name, "lib/edge") || strings.HasSuffix(h.Name, "run/edge")
		if owned != (h.Uid == nonroot && h.Gid == nonroot) || h.Mode&0o022 != 0 || !h.ModTime.Equal(r.when) {
			t.Errorf("%+v", h)
		}
	}
	for name, has := range map[string]string{
		"usr/local/bin/edge": "a program", "etc/edge/edge.toml": "[http]", "var/lib/edge": "", "run/edge": "",
		"etc/ssl/certs/ca-certificates.crt": "-----BEGIN CERTIFICATE-----",
	} {
		if text, there := all[name]; !there || !strings.Contains(text, has) {
			t.Errorf("%s: %v, %.20q", name, there, text)
		}
	}
	if n := strings.Count(all["etc/ssl/certs/ca-certificates.crt"], "BEGIN"); n < 80 {
		t.Errorf("%d authorities", n)
	}
}

// sameAsDockerfile compares with the last stage of the Dockerfile.
func sameAsDockerfile(t *testing.T, c *v1.Config) {
	t.Helper()
	text := string(read(t, filepath.Join(testutil.Root(t), "Dockerfile")))
	text = text[strings.LastIndex(text, "\nFROM "):]
	after := func(word string) string {
		m := regexp.MustCompile(`(?m)^` + word + ` (.*)$`).FindStringSubmatch(text)
		if m == nil {
			t.Errorf("the Dockerfile has no %s", word)
			return ""
		}
		return m[1]
	}
	list := func(in string) (words []string) {
		if err := json.Unmarshal([]byte(in), &words); err != nil {
			t.Errorf("%s: %v", in, err)
		}
		return words
	}
	var ports []string
	for port := range c.ExposedPorts {
		ports = append(ports, strings.TrimSuffix(port, "/tcp"))
	}
	slices.Sort(ports)
	health, command, _ := strings.Cut(after("HEALTHCHECK"), " CMD ")
	for _, same := range [][2]string{
		{after("USER"), c.User}, {after("ENV"), strings.Join(c.Env, " ")}, {after("EXPOSE"), "80 443 443/udp"},
		{strings.Join(ports, " "), "443 443/udp 80"},
		{strings.Join(list(after("ENTRYPOINT")), " "), strings.Join(c.Entrypoint, " ")},
		{strings.Join(list(after("CMD")), " "), strings.Join(c.Cmd, " ")},
		{"CMD " + strings.Join(list(command), " "), strings.Join(c.Healthcheck.Test, " ")},
		{health, "--interval=" + c.Healthcheck.Interval.String() + " --timeout=" + c.Healthcheck.Timeout.String()},
	} {
		if same[0] != same[1] {
			t.Errorf("the Dockerfile has %q, the image %q", same[0], same[1])
		}
	}
}
