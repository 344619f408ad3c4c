package fleet

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"fmt"

	"github.com/edge-proxy/edge"
)

// SealedConfig has the keys of a table [storages.NAME] with type = "fleet_sealed".
type SealedConfig struct {
	Folder string      `edge:"folder" doc:"Where the files are." required:"true" example:"/mnt/shared/edge"`
	Key    edge.Secret `edge:"key" doc:"32 bytes in base64." required:"true" example:"${file:/etc/edge/storage.key}"`
}

func init() {
	edge.RegisterStorage("fleet_sealed", "Keeps accounts and certificates in a folder, encrypted.", NewSealed)
}

// sealed is a storage. What it has of a folder, it does as that does: List, Delete, Lock, Unlock.
type sealed struct {
	edge.Storage
	aead cipher.AEAD
}

// NewSealed makes a storage of c.
func NewSealed(c *SealedConfig, b *edge.Build) (edge.Storage, error) {
	c, err := edge.Completed(c, b)
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(string(c.Key))
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	folder, err := edge.NewFolder(c.Folder, 0, 0)
	if err != nil {
		return nil, err
	}
	return &sealed{folder, aead}, nil
}

// Store keeps a value. It is sealed with its name, so that one value cannot be put in the place of another.
func (s *sealed) Store(ctx context.Context, key string, value []byte) error {
	return s.Storage.Store(ctx, key, s.aead.Seal(nil, nil, value, []byte(key)))
}

// Load returns a value.
func (s *sealed) Load(ctx context.Context, key string) ([]byte, error) {
	value, err := s.Storage.Load(ctx, key)
	if err != nil {
		return nil, err
	}
	return s.aead.Open(nil, nil, value, []byte(key))
}
