package tlsfile

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
)

var (
	errNeedPassword = errors.New("the key is encrypted; set keyfile_password")
	errBadPassword  = errors.New("the key cannot be decrypted; check keyfile_password")
	errBadKey       = errors.New("the encrypted key is damaged or of an unknown form; " +
		"convert it with: openssl pkcs8 -topk8 -v2 aes-256-cbc")
)

// decryptKey replaces encrypted private keys in a PEM file by clear ones; the
// other blocks stay.
func decryptKey(data []byte, password string) ([]byte, error) {
	var out []byte
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return out, nil
		}
		var err error
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY":
			if password == "" {
				return nil, errNeedPassword
			}
			block.Type = "PRIVATE KEY"
			block.Bytes, err = decryptPKCS8(block.Bytes, password)
		case legacyEncrypted(block):
			if password == "" {
				return nil, errNeedPassword
			}
			block, err = decryptLegacy(block, password)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, pem.EncodeToMemory(block)...)
	}
}

// The old form of OpenSSL (headers Proc-Type and DEK-Info) is deprecated because
// it has no integrity, which matters little for a file that only its owner may
// write. Operators have such files.
func legacyEncrypted(b *pem.Block) bool {
	//lint:ignore SA1019 see above
	return x509.IsEncryptedPEMBlock(b)
}

func decryptLegacy(b *pem.Block, password string) (*pem.Block, error) {
	//lint:ignore SA1019 see legacyEncrypted
	der, err := x509.DecryptPEMBlock(b, []byte(password))
	if err != nil {
		return nil, errBadPassword
	}
	return &pem.Block{Type: b.Type, Bytes: der}, nil
}

// The form PKCS#8 with PBES2 (RFC 8018), which OpenSSL writes today; the
// standard library reads only keys in clear.
var (
	oidPBES2      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidHMACSHA1   = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 7}
	oidHMACSHA256 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
	oidHMACSHA512 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 11}
	oidAES128     = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}
	oidAES192     = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 22}
	oidAES256     = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
	oidDES3       = asn1.ObjectIdentifier{1, 2, 840, 113549, 3, 7}
)

type encryptedKeyInfo struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

type pbes2Params struct {
	Derivation, Encryption pkix.AlgorithmIdentifier
}

type pbkdf2Params struct {
	Salt       []byte
	Iterations int
	KeyLength  int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
}

// maxIterations bounds the work that a damaged file can cause.
const maxIterations = 10_000_000

func decryptPKCS8(der []byte, password string) ([]byte, error) {
	var info encryptedKeyInfo
	var scheme pbes2Params
	var kdf pbkdf2Params
	var iv []byte
	if _, err := asn1.Unmarshal(der, &info); err != nil || !info.Algorithm.Algorithm.Equal(oidPBES2) {
		return nil, errBadKey
	}
	if _, err := asn1.Unmarshal(info.Algorithm.Parameters.FullBytes, &scheme); err != nil || !scheme.Derivation.Algorithm.Equal(oidPBKDF2) {
		return nil, errBadKey
	}
	if _, err := asn1.Unmarshal(scheme.Derivation.Parameters.FullBytes, &kdf); err != nil ||
		kdf.Iterations < 1 || kdf.Iterations > maxIterations {
		return nil, errBadKey
	}
	if _, err := asn1.Unmarshal(scheme.Encryption.Parameters.FullBytes, &iv); err != nil {
		return nil, errBadKey
	}
	newCipher, keyLength, err := blockCipher(scheme.Encryption.Algorithm)
	if err != nil {
		return nil, err
	}
	newHash, err := prf(kdf.PRF.Algorithm)
	if err != nil {
		return nil, err
	}
	key, err := pbkdf2.Key(newHash, password, kdf.Salt, kdf.Iterations, keyLength)
	if err != nil {
		return nil, fmt.Errorf("derive the key: %w", err)
	}
	block, err := newCipher(key)
	if err != nil {
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	size := block.BlockSize()
	if len(iv) != size || len(info.Data) == 0 || len(info.Data)%size != 0 {
		return nil, errBadKey
	}
	clear := make([]byte, len(info.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(clear, info.Data)
	padding := int(clear[len(clear)-1])
	if padding < 1 || padding > size {
		return nil, errBadPassword
	}
	clear = clear[:len(clear)-padding]
	// Padding can be right by chance; a key in it cannot.
	if _, err := x509.ParsePKCS8PrivateKey(clear); err != nil {
		return nil, errBadPassword
	}
	return clear, nil
}

func blockCipher(oid asn1.ObjectIdentifier) (newCipher func([]byte) (cipher.Block, error), keyLength int, err error) {
	switch {
	case oid.Equal(oidAES128):
		return aes.NewCipher, 16, nil
	case oid.Equal(oidAES192):
		return aes.NewCipher, 24, nil
	case oid.Equal(oidAES256):
		return aes.NewCipher, 32, nil
	case oid.Equal(oidDES3):
		return des.NewTripleDESCipher, 24, nil
	}
	return nil, 0, errBadKey
}

func prf(oid asn1.ObjectIdentifier) (func() hash.Hash, error) {
	switch {
	case len(oid) == 0 || oid.Equal(oidHMACSHA1): // SHA-1 is the default of the standard
		return sha1.New, nil
	case oid.Equal(oidHMACSHA256):
		return sha256.New, nil
	case oid.Equal(oidHMACSHA512):
		return sha512.New, nil
	}
	return nil, errBadKey
}
