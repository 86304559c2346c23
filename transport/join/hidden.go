package join

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
)

// Hidden is a secret that no verb of fmt, no logger and no encoder shows: the bytes are behind a function, where reflection
// does not look. The zero value is empty.
type Hidden struct {
	reveal func() []byte
}

// Hide returns the secret, hidden. It keeps a copy.
func Hide(secret []byte) Hidden {
	secret = bytes.Clone(secret)
	return Hidden{func() []byte { return secret }}
}

// Reveal returns the secret itself. It must not be changed.
func (h Hidden) Reveal() []byte {
	if h.reveal == nil {
		return nil
	}
	return h.reveal()
}

// Empty reports whether there is no secret.
func (h Hidden) Empty() bool { return len(h.Reveal()) == 0 }

// Format prints "hidden" for every verb.
func (Hidden) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, "hidden") }

// LogValue is "hidden".
func (Hidden) LogValue() slog.Value { return slog.StringValue("hidden") }

// MarshalText is "hidden", in JSON too.
func (Hidden) MarshalText() ([]byte, error) { return []byte("hidden"), nil }
