package quic

import "testing"

func TestCode_names(t *testing.T) {
	for code, want := range map[Code]string{
		NoError: "NO_ERROR", NoViablePath: "NO_VIABLE_PATH", FrameEncodingError: "FRAME_ENCODING_ERROR",
		CryptoError(42): "CRYPTO_ERROR with alert 42", 0x11: "code 0x11", 0x200: "code 0x200",
	} {
		if code.String() != want {
			t.Errorf("%q, want %q", code.String(), want)
		}
	}
	if errFrameCut.Error() != "quic: frame is cut off" {
		t.Error(errFrameCut)
	}
}
