package packaging

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// The plain manifests are YAML, their configuration is one that edge takes, and the pod runs as the image is made: the
// tests of packaging/helm/check, which make test does without, hold them against the types of Kubernetes.
func TestManifests(t *testing.T) {
	text, err := os.ReadFile("kubernetes/edge.yaml")
	if err != nil {
		t.Fatal(err)
	}
	type named struct{ Name string }
	type document struct {
		Kind     string
		Metadata named
		Data     map[string]string
		Spec     struct {
			Template struct {
				Spec struct {
					SecurityContext struct {
						RunAsUser int `yaml:"runAsUser"`
					} `yaml:"securityContext"`
					Containers []struct {
						Args         []string
						VolumeMounts []struct {
							MountPath string `yaml:"mountPath"`
						} `yaml:"volumeMounts"`
					}
					Volumes []struct {
						ConfigMap named `yaml:"configMap"`
					}
				}
			}
		}
	}
	byKind := map[string]document{}
	for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var doc document
		if err := d.Decode(&doc); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		byKind[doc.Kind] = doc
	}
	pod := byKind["Deployment"].Spec.Template.Spec
	if len(pod.Containers) != 1 || pod.SecurityContext.RunAsUser != 65532 {
		t.Fatalf("%+v", pod)
	}
	if pod.Volumes[0].ConfigMap.Name != byKind["ConfigMap"].Metadata.Name {
		t.Errorf("the pod has the configuration of %+v", pod.Volumes[0])
	}
	for _, m := range pod.Containers[0].VolumeMounts {
		if !slices.Contains([]string{"/etc/edge", "/var/lib/edge", "/run/edge"}, m.MountPath) {
			t.Errorf("the image has no %s", m.MountPath)
		}
	}
	conf := filepath.Join(t.TempDir(), "edge.toml")
	if err := os.WriteFile(conf, []byte(byKind["ConfigMap"].Data["edge.toml"]), 0o600); err != nil {
		t.Fatal(err)
	}
	program := testutil.Binary(t, "./cmd/edge")
	if out, err := exec.Command(program, "check", "--strict", conf).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	args := slices.Clone(pod.Containers[0].Args)
	i := slices.Index(args, "/etc/edge/edge.toml")
	if i < 0 {
		t.Fatalf("%q", args)
	}
	args[i] = filepath.Join(t.TempDir(), "none.toml")
	out, err := exec.Command(program, args...).CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("none.toml: ")) {
		t.Errorf("%q: %v\n%s", args, err, out)
	}
}
