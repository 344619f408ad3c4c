package lint

import "testing"

func TestLink(t *testing.T) { clean(t, "link") }

func TestLink_fires(t *testing.T) {
	fires(t, "link", files{
		"README.md", "[a](docs/a.md) [b](docs/b.md#top)\n[c](https://example.com) [d](#here)\n```\n[e](e.md)\n```\n",
		"docs/a.md", "[up](../README.md)\n![picture](p.svg \"title\")\n",
	}, "README.md:1 docs/b.md", "docs/a.md:2 p.svg")
}
