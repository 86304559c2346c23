package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxSettings is the most bytes of a change of many settings that the server reads.
const maxSettings = 256 << 10

// SettingsEditor is what a [Source] serves besides, where many settings change together:
//
//	PATCH /v1/settings            body: {"settings": [SettingValue]}; SettingChanges
//	GET   /v1/settings/history    SettingChanges
type SettingsEditor interface {
	// ChangeSettings changes all of them or none, and returns what became different.
	ChangeSettings(ctx context.Context, set []SettingValue) ([]SettingChange, error)
	// SettingsHistory returns the last changes that the log remembers, oldest first.
	SettingsHistory(ctx context.Context) ([]SettingChange, error)
}

// SettingValue is a setting to be; an empty value restores its default.
type SettingValue struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// SettingChange is what became different about a setting; an empty value is the default.
type SettingChange struct {
	Time time.Time `json:"time,omitzero"`
	Key  string    `json:"key"`
	Old  string    `json:"old"`
	New  string    `json:"new"`
	By   string    `json:"by"` // the member that was asked, and by whom from afar
}

type settingChanges struct {
	Changes []SettingChange `json:"changes"`
}

type settingValues struct {
	Settings []SettingValue `json:"settings"`
}

func (s *Server) settingsRoutes(e SettingsEditor) {
	s.mux.HandleFunc("PATCH /v1/settings", func(w http.ResponseWriter, r *http.Request) {
		const what = "change settings"
		var v settingValues
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSettings))
		if err == nil {
			err = json.Unmarshal(body, &v)
		}
		if err != nil {
			s.fail(w, &Error{Status: http.StatusBadRequest, What: what, Why: fmt.Sprintf("request not understood (%v)", err)})
			return
		}
		changes, err := e.ChangeSettings(r.Context(), v.Settings)
		s.answer(w, what, settingChanges{changes}, err)
	})
	s.mux.HandleFunc("GET /v1/settings/history", func(w http.ResponseWriter, r *http.Request) {
		changes, err := e.SettingsHistory(r.Context())
		s.answer(w, "history of settings", settingChanges{changes}, err)
	})
}

// ChangeSettings implements [SettingsEditor].
func (c *Client) ChangeSettings(ctx context.Context, set []SettingValue) ([]SettingChange, error) {
	body, err := json.Marshal(settingValues{set})
	if err != nil {
		return nil, fmt.Errorf("admin request: %w", err)
	}
	l, err := get[settingChanges](ctx, c, http.MethodPatch, "/v1/settings", body)
	if err != nil {
		return nil, err
	}
	return l.Changes, nil
}

// SettingsHistory implements [SettingsEditor].
func (c *Client) SettingsHistory(ctx context.Context) ([]SettingChange, error) {
	l, err := get[settingChanges](ctx, c, http.MethodGet, "/v1/settings/history", nil)
	if err != nil {
		return nil, err
	}
	return l.Changes, nil
}
