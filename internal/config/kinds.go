package config

import (
	"embed"
	"sync"

	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/internal/config/language"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/value"
)

// source are the files of this package, for the docs of keys.
//
//go:embed config.go dest.go discover.go document.go healthcheck.go
//go:embed listener.go listenertls.go logs.go route.go rule.go services.go upstream.go
var source embed.FS

func typeBalance() schema.FieldType {
	return schema.FieldType{Type: schema.Choice, Plain: true, Enum: balance.Names(), Open: true,
		Synonyms: balancingSynonyms}
}

// tags say what the tags of fields mean, of this package and of those whose structs stand in its entries.
var tags = sync.OnceValue(func() *schema.Tags {
	return &schema.Tags{Comments: schema.Comments(source, value.Source), Kinds: map[string]schema.FieldType{
		"account":          {Type: typeAccount, Plain: true},
		"advertised":       {Type: typeAdvertised, Plain: true},
		"alpn":             {Type: typeALPN, Plain: true},
		"answer_fields":    {Type: ruleFields(false)},
		"balance":          typeBalance(),
		"budget":           {Type: typeBudget, Plain: true},
		"bytes":            {Type: typeBytes},
		"codes":            {Type: schema.Choices, Plain: true, Enum: codeNames()},
		"cookie":           {Type: typeCookieName, Plain: true},
		"deny":             {Type: typeDeny},
		"fields":           {Type: value.TypeFields},
		"field_name":       {Type: value.TypeFieldName, Plain: true},
		"headers":          {Type: value.TypeHeaders},
		"hedge":            {Type: typeHedge},
		"host":             {Type: value.TypeHost, Plain: true},
		"lines":            language.Compiled(language.TypeLines),
		"log_outputs":      {Type: value.TypeLogOutput, Plain: true},
		"log_path":         {Type: value.TypeLogPath, Plain: true},
		"methods":          {Type: value.TypeMethods, Plain: true},
		"offered_hosts":    {Type: typeOfferedHosts, Plain: true},
		"parameters":       {Type: value.TypeParameters},
		"percent":          {Type: Percent, Plain: true},
		"protocols":        {Type: typeProtocols, Plain: true, Enum: []string{"h1", "h2", "h3"}},
		"redact":           {Type: typeRedact, Plain: true},
		"request_fields":   {Type: ruleFields(true)},
		"retry_conditions": {Type: typeConditions, Plain: true},
		"secrets":          {Type: typeSecrets, Plain: true},
		"server_name":      {Type: typeServerName, Plain: true},
		"share":            {Type: typeShare},
		"sources":          {Type: typeSources, Plain: true},
		"switch":           {Type: typeSwitch},
		"target":           {Type: typeTarget, Plain: true},
		"texts":            {Type: typeTexts},
		"upgrades":         {Type: value.TypeUpgrades, Plain: true},
		"version":          {Type: typeVersion, Plain: true, Enum: versionNames(), Synonyms: versionSynonyms},

		"*[]*lang.Condition":   language.Compiled(TypeAlways),
		"*lang.Condition":      language.Compiled(language.TypeCondition),
		"*lang.Template":       language.Compiled(language.TypeTemplate),
		"*[]value.Text":        {Type: typeFields},
		"*float64":             {Type: TypeSample},
		"*route.ClientCert":    {Type: value.TypeClientCert},
		"[]config.StatusRange": {Type: typeStatuses, Plain: true},
		"[]netip.AddrPort":     {Type: value.TypeResolver, Plain: true},
		"[]tls.CurveID":        {Type: typeCurves, Plain: true, Enum: curveNames()},
		"[]uint16":             {Type: typeCiphers, Plain: true},
		"[]value.Address":      {Type: value.TypeListen, Plain: true},
		"config.Account":       {Type: typeOwner, Plain: true},
		"config.Lockdown":      {Type: typeLockdown},
		"config.TLSMode":       {Type: typeTLSMode, Plain: true},
		"config.errorPages":    {Type: typeErrorPages},
		"fs.FileMode":          {Type: typeFileMode, Plain: true},
		"value.Endpoint":       {Type: value.TypeEndpoint, Plain: true},
		"value.HashKey":        {Type: value.TypeHashKey, Plain: true},
		"value.Trusted":        {Type: value.TypeNetworks},
		"value.Where":          {Type: value.TypeAccessLog, Plain: true},
	}}
})
