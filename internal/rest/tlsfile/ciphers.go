package tlsfile

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
)

// A suite is a cipher suite by OpenSSL's name and the words that select it.
type suite struct {
	id    uint16
	name  string
	words []string
}

// suites are those of TLS 1.2 that Go has, in its order of preference. TLS 1.3
// has its own, which neither OpenSSL's list nor Go's touches.
var suites = []suite{
	{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDHE-ECDSA-AES128-GCM-SHA256", []string{"ECDHE", "ECDSA", "AESGCM", "AES128", "AES", "HIGH"}},
	{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE-RSA-AES128-GCM-SHA256", []string{"ECDHE", "aRSA", "AESGCM", "AES128", "AES", "HIGH"}},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "ECDHE-ECDSA-AES256-GCM-SHA384", []string{"ECDHE", "ECDSA", "AESGCM", "AES256", "AES", "HIGH"}},
	{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "ECDHE-RSA-AES256-GCM-SHA384", []string{"ECDHE", "aRSA", "AESGCM", "AES256", "AES", "HIGH"}},
	{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-ECDSA-CHACHA20-POLY1305", []string{"ECDHE", "ECDSA", "CHACHA20", "HIGH"}},
	{tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-RSA-CHACHA20-POLY1305", []string{"ECDHE", "aRSA", "CHACHA20", "HIGH"}},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, "ECDHE-ECDSA-AES128-SHA", []string{"ECDHE", "ECDSA", "AES128", "AES", "SHA1", "SHA", "HIGH"}},
	{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, "ECDHE-RSA-AES128-SHA", []string{"ECDHE", "aRSA", "AES128", "AES", "SHA1", "SHA", "HIGH"}},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, "ECDHE-ECDSA-AES256-SHA", []string{"ECDHE", "ECDSA", "AES256", "AES", "SHA1", "SHA", "HIGH"}},
	{tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, "ECDHE-RSA-AES256-SHA", []string{"ECDHE", "aRSA", "AES256", "AES", "SHA1", "SHA", "HIGH"}},
	{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, "AES128-GCM-SHA256", []string{"RSA", "kRSA", "aRSA", "AESGCM", "AES128", "AES", "HIGH"}},
	{tls.TLS_RSA_WITH_AES_256_GCM_SHA384, "AES256-GCM-SHA384", []string{"RSA", "kRSA", "aRSA", "AESGCM", "AES256", "AES", "HIGH"}},
	{tls.TLS_RSA_WITH_AES_128_CBC_SHA, "AES128-SHA", []string{"RSA", "kRSA", "aRSA", "AES128", "AES", "SHA1", "SHA", "HIGH"}},
	{tls.TLS_RSA_WITH_AES_256_CBC_SHA, "AES256-SHA", []string{"RSA", "kRSA", "aRSA", "AES256", "AES", "SHA1", "SHA", "HIGH"}},
}

// aliases are other spellings of the words above.
var aliases = map[string]string{"EECDH": "ECDHE", "kEECDH": "ECDHE", "kECDHE": "ECDHE", "aECDSA": "ECDSA", "ALL": "HIGH", "DEFAULT": "HIGH"}

// parseCiphers reads OpenSSL's notation: names and words, joined by + where all
// must apply, separated by : or , or blanks; ! and - remove. Go orders suites by
// itself, so what only orders (+X, @STRENGTH) is accepted and changes nothing;
// words for suites that Go never had select and remove nothing.
func parseCiphers(list string) ([]uint16, error) {
	var ids []uint16
	banned := map[uint16]bool{}
	for _, token := range strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(":;, ", r) }) {
		switch token[0] {
		case '@', '+':
		case '!', '-':
			for _, id := range selected(token[1:]) {
				ids = slices.DeleteFunc(ids, func(x uint16) bool { return x == id })
				banned[id] = banned[id] || token[0] == '!'
			}
		default:
			for _, id := range selected(token) {
				if !banned[id] && !slices.Contains(ids, id) {
					ids = append(ids, id)
				}
			}
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("ciphers %q: selects no cipher suite that is supported; name some, for example ECDHE+AESGCM", list)
	}
	return ids, nil
}

func selected(token string) (ids []uint16) {
	words := strings.Split(token, "+")
	for _, s := range suites {
		all := true
		for _, w := range words {
			if a, ok := aliases[w]; ok {
				w = a
			}
			all = all && (w == s.name || slices.Contains(s.words, w))
		}
		if all {
			ids = append(ids, s.id)
		}
	}
	return ids
}
