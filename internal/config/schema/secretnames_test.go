package schema

import "testing"

// Names of credentials are known wherever the word stands. A key that tells things apart is no credential.
func TestNamesSecret(t *testing.T) {
	for name, want := range map[string]bool{
		"Authorization": true, "Proxy-Authorization": true, "Set-Cookie": true, "X-Token-Id": true,
		"passwordHash": true,
		"X-Api-Key":    true, "apikey": true, "api_key": true, "AWSAccessKeyId": true, "X-Amz-Signature": true,
		"key":       true,
		"auth.user": true, "X-Session": true, "otp": true, "passwd": true, "X-Amz-Credential": true,
		"Idempotency-Key": false, "X-Idempotency-Key": false, "Surrogate-Key": false, "Sec-WebSocket-Key": false,
		"cache_key": false, "Surrogate-Key-Token": true, "keyboard": false, "monkey": false, "Status-Code": false,
	} {
		t.Run(name, func(t *testing.T) {
			if NamesSecret(name) != want {
				t.Errorf("want %v", want)
			}
		})
	}
}
