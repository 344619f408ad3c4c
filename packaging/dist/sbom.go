package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"
)

// bill is a bill of materials in CycloneDX 1.6 (ECMA-424), as far as a Go binary has something to say in it.
type bill struct {
	Schema       string       `json:"$schema"`
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	SerialNumber string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PURL       string     `json:"purl"`
	Hashes     []hash     `json:"hashes,omitempty"`
	Licenses   []license  `json:"licenses,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type license struct {
	License struct {
		ID string `json:"id"`
	} `json:"license"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

// bom returns the bill of a binary: the modules that the linker took, as the binary itself tells them, and the standard
// library.
func (r *release) bom(program, arch, binary string) ([]byte, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	edge := goModule(info.Main.Path, r.version)
	edge.Type, edge.Name = "application", program
	edge.PURL += "?goos=linux&goarch=" + arch
	edge.Ref = edge.PURL
	edge.Hashes = []hash{{"SHA-256", hex.EncodeToString(sum[:])}}
	edge.Licenses = make([]license, 1)
	edge.Licenses[0].License.ID = "Apache-2.0"
	if r.commit != "" {
		edge.Properties = []property{{"edge:commit", r.commit}}
	}
	b := bill{
		Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", SpecVersion: "1.6", Version: 1,
		SerialNumber: "urn:uuid:" + uuidOf(sum),
		Metadata:     metadata{Timestamp: r.when.Format(time.RFC3339), Component: edge},
		Components:   []component{goModule("std", strings.TrimPrefix(info.GoVersion, "go"))},
	}
	for _, m := range info.Deps {
		b.Components = append(b.Components, r.moduleOf(m))
	}
	of := dependency{Ref: edge.Ref}
	for i := range b.Components {
		of.DependsOn = append(of.DependsOn, b.Components[i].Ref)
	}
	b.Dependencies = []dependency{of}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err = e.Encode(b)
	return out.Bytes(), err
}

func goModule(path, version string) component {
	purl := fmt.Sprintf("pkg:golang/%s@%s", strings.ToLower(path), strings.ReplaceAll(version, "+", "%2B"))
	return component{Type: "library", Ref: purl, Name: path, Version: version, PURL: purl}
}

// moduleOf returns the component of a module: one of edge, which has edge's version, where a folder stands for it. Its
// sum is the sum of go.sum: of all its files, not of one, so it is none of the hashes that CycloneDX knows.
func (r *release) moduleOf(m *debug.Module) component {
	used := cmp.Or(m.Replace, m)
	if used.Sum == "" && m.Replace != nil {
		used = &debug.Module{Path: m.Path, Version: r.version}
	}
	c := goModule(used.Path, used.Version)
	if used.Sum != "" {
		c.Properties = []property{{"go:sum", used.Sum}}
	}
	return c
}

// uuidOf makes a UUID of version 8 (RFC 9562 §5.8) of a sum: the bill of the same binary has the same number.
func uuidOf(sum [sha256.Size]byte) string {
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
