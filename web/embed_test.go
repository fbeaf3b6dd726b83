package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"parley/web"
)

// What the browser is told about every file, page or module: load nothing of others, run nothing inline, tell nobody.
func TestHeaders(t *testing.T) {
	handler := web.Handler()
	for path, kind := range map[string]string{
		"/":                     "text/html; charset=utf-8",
		"/parley.js":            "text/javascript; charset=utf-8",
		"/ui/door.js":           "text/javascript; charset=utf-8",
		"/parley.d.ts":          "text/plain; charset=utf-8",
		"/style.css":            "text/css; charset=utf-8",
		"/icon.svg":             "image/svg+xml",
		"/icon.png":             "image/png",
		"/manifest.webmanifest": "application/manifest+json",
	} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		head := answer.Header()
		if answer.Code != http.StatusOK || head.Get("Content-Type") != kind {
			t.Errorf("%s: %d, %q", path, answer.Code, head.Get("Content-Type"))
		}
		policy := head.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors"} {
			if !strings.Contains(policy, part) {
				t.Errorf("%s: the policy %q lacks %s", path, policy, part)
			}
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") || strings.Contains(policy, "http") {
			t.Errorf("%s: the policy %q allows too much", path, policy)
		}
		for name, want := range map[string]string{
			"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "SAMEORIGIN",
			"Cross-Origin-Opener-Policy": "same-origin", "Set-Cookie": "", "Access-Control-Allow-Origin": "*",
		} {
			if got := head.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		again := httptest.NewRequest(http.MethodGet, path, nil)
		again.Header.Set("If-None-Match", head.Get("ETag"))
		answer = httptest.NewRecorder()
		handler.ServeHTTP(answer, again)
		if answer.Code != http.StatusNotModified || answer.Body.Len() > 0 {
			t.Errorf("%s, when it is known: %d with %d bytes", path, answer.Code, answer.Body.Len())
		}
	}
}

// Nothing but files is there, and nothing is changed.
func TestOnlyFiles(t *testing.T) {
	handler := web.Handler()
	for request, want := range map[*http.Request]int{
		httptest.NewRequest(http.MethodPost, "/", nil):              http.StatusMethodNotAllowed,
		httptest.NewRequest(http.MethodHead, "/", nil):              http.StatusOK,
		httptest.NewRequest(http.MethodGet, "/ui", nil):             http.StatusNotFound,
		httptest.NewRequest(http.MethodGet, "/ui/", nil):            http.StatusNotFound,
		httptest.NewRequest(http.MethodGet, "/embed.go", nil):       http.StatusNotFound,
		httptest.NewRequest(http.MethodGet, "/test/fake.js", nil):   http.StatusNotFound,
		httptest.NewRequest(http.MethodGet, "/../main.go", nil):     http.StatusNotFound,
		httptest.NewRequest(http.MethodGet, "/doctor/page.go", nil): http.StatusNotFound,
	} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		if answer.Code != want {
			t.Errorf("%s %s: %d, want %d", request.Method, request.URL.Path, answer.Code, want)
		}
	}
}
