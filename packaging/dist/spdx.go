package main

import (
	"bytes"
	"cmp"
	"debug/buildinfo"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
)

const (
	home      = "https://github.com/edge-proxy/edge"
	unclaimed = "NOASSERTION"
)

// spdx returns what is in a binary, in SPDX 2.3: the modules that the linker took, as the binary itself tells them, and
// the standard library.
func (r *release) spdx(program, arch, binary string) ([]byte, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	sum := sumOf(text)
	edge := goModule(0, info.Main.Path, r.version)
	edge.PackageName, edge.PrimaryPackagePurpose = program, "APPLICATION"
	edge.PackageLicenseDeclared = "Apache-2.0"
	edge.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: sum}}
	edge.PackageExternalReferences[0].Locator += "?goos=linux&goarch=" + arch
	if r.commit != "" {
		edge.PackageSourceInfo = "git commit " + r.commit
	}
	all := []*v2_3.Package{edge, goModule(1, "std", strings.TrimPrefix(info.GoVersion, "go"))}
	for _, m := range info.Deps {
		all = append(all, r.moduleOf(len(all), m))
	}
	doc := v2_3.Document{
		SPDXVersion: v2_3.Version, DataLicense: v2_3.DataLicense, SPDXIdentifier: "DOCUMENT",
		DocumentName:      r.nameOf(program, arch),
		DocumentNamespace: home + "/spdx/" + r.nameOf(program, arch) + "-" + sum,
		CreationInfo: &v2_3.CreationInfo{Created: r.when.Format(time.RFC3339),
			Creators: []common.Creator{{CreatorType: "Tool", Creator: "edge-packaging-dist"}}},
		Packages: all,
	}
	for i, p := range all {
		link := v2_3.Relationship{RefA: common.MakeDocElementID("", string(edge.PackageSPDXIdentifier)),
			RefB: common.MakeDocElementID("", string(p.PackageSPDXIdentifier)), Relationship: "DEPENDS_ON"}
		if i == 0 {
			link.RefA, link.Relationship = common.MakeDocElementID("", "DOCUMENT"), common.TypeRelationshipDescribe
		}
		doc.Relationships = append(doc.Relationships, &link)
	}
	var b bytes.Buffer
	err = json.Write(&doc, &b, json.Indent("  "), json.EscapeHTML(false))
	return b.Bytes(), err
}

// goModule returns the nth module of a document.
func goModule(n int, path, version string) *v2_3.Package {
	purl := fmt.Sprintf("pkg:golang/%s@%s", strings.ToLower(path), strings.ReplaceAll(version, "+", "%2B"))
	return &v2_3.Package{
		PackageName: path, PackageVersion: version,
		PackageSPDXIdentifier:   common.ElementID(fmt.Sprintf("Module-%d", n)),
		PackageDownloadLocation: unclaimed, PackageLicenseConcluded: unclaimed, PackageLicenseDeclared: unclaimed,
		PackageCopyrightText: unclaimed, IsFilesAnalyzedTagPresent: true,
		PackageExternalReferences: []*v2_3.PackageExternalReference{{Category: common.CategoryPackageManager,
			RefType: common.TypePackageManagerPURL, Locator: purl}},
	}
}

// moduleOf returns the package of a module: one of edge, which has edge's version, where a folder stands for it. Its
// sum is the sum of go.sum: of all its files, not of one, so it is none of the checksums that SPDX knows.
func (r *release) moduleOf(n int, m *debug.Module) *v2_3.Package {
	used := cmp.Or(m.Replace, m)
	if used.Sum == "" && m.Replace != nil {
		used = &debug.Module{Path: m.Path, Version: r.version}
	}
	p := goModule(n, used.Path, used.Version)
	if used.Sum != "" {
		p.PackageComment = "go.sum " + used.Sum
	}
	return p
}
