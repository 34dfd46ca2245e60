"""Names and shapes of secrets and of other things: what redaction finds, and why not the rest.

`*` marks names of Sentry's scrubber (sentry_sdk/scrubber.py, DEFAULT_DENYLIST). Shapes have the identifier
of the rule of gitleaks (config/gitleaks.toml) where there is one. Every value here is made up.
"""

from __future__ import annotations

VALUE = "Zq7vN2kd9XwP"

FOUND_NAMES = """
password Password PASSWORD passwd userPassword user_password db_password DB_PASSWORD dbpassword PGPASSWORD
MYSQL_PWD mysql_pwd* password2 newPassword password_confirmation passwordHash passphrase keyPassphrase
passcode pin PIN userPin pinCode otp totp cvv secret Secret client_secret clientSecret CLIENT_SECRET
client-secret app.secret webhookSecret secretKey secret_key SECRET_KEY_2 SECRET_ACCESS_KEY
AWS_SECRET_ACCESS_KEY aws_secret_access_key secretAccessKey api_key apiKey APIKey API_KEY api-key x-api-key
X-API-Key apikey* x_api_key* openaiApiKey OPENAI_API_KEY accessKey aws_access_key AccountKey private_key*
privateKey PrivateKey ssh_private_key privatekey* encryptionKey masterKey shared_key credential credentials*
recoveryCode backup_codes seedPhrase mnemonic securityAnswer token* Token TOKEN accessToken access_token
access-token refreshToken refresh-token idToken bearerToken authToken _authToken auth_token X-Auth-Token
x-csrf-token x_csrftoken* csrftoken* csrf* _csrf* csrf_token* _csrf_token* _xsrf* XSRF-TOKEN* GITHUB_TOKEN
GH_TOKEN NPM_TOKEN botToken sessionToken deviceToken token2 tokens authorization* Authorization
Proxy-Authorization proxyAuthorization cookie* Cookie set_cookie* Set-Cookie setCookie cookies db_pass
smtpPass pass jwt userJwt PHPSESSID* connect.sid* aiohttp_session* passwords secrets
""".split()
"""Members whose value is replaced, `VALUE` given."""

MISSED_NAMES = {
    "auth*": "mostly names a method; a header or token in it is found by its shape or name",
    "session*": "which session an agent acted in is evidence; the log itself reads actor_context.session",
    "sessionid*": "as session",
    "_session*": "as session",
    "user_session*": "as session",
    "symfony*": "the name of a framework; its cookie is found as a cookie",
    "ip_address*": "who acted from where is evidence; personal data is named in the policy",
    "remote_addr*": "as ip_address",
    "x_forwarded_for*": "as ip_address",
    "x_real_ip*": "as ip_address",
    "email": "whom an agent wrote to is evidence; `email` is a pattern to be switched on",
    "ssn": "personal data, no key to anything: the policy names it where it occurs",
    "card_number": "as ssn",
    "key": "a cache's, a dictionary's, a table's: too many other things",
    "signature": "it proves, and opens nothing",
    "mật khẩu": "names in other languages than English: the policy names them",
    "contraseña": "as mật khẩu",
    "pw": "two letters of many words",
}
"""Members that stay, and why."""

PLAIN_MEMBERS = {
    "completion_token": 12,
    "completion_tokens": 55,
    "max_tokens": 1000,
    "maxTokens": 4096,
    "prompt_tokens": 3,
    "tokens": 7,
    "total_token": 12,
    "token": 5,
    "next_page_token": "CAUQAA-page-2-of-9",
    "nextPageToken": "CAUQAAabc",
    "pageToken": "CAUQAAabc9",
    "continuation_token": "abcdef123456",
    "idempotency_token": "a1b2c3d4e5",
    "stop_token": "<|endoftext|>",
    "token_type": "access_token_v2",
    "token_count": 3,
    "password_policy": "strong one",
    "password_length": 12,
    "secret_name": "prod/db/main",
    "has_password": True,
    "api_key_id": "key-17-main",
    "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5",
    "primary_key": "order_id_9",
    "key_id": "0123456789abcdef",
    "cookie_policy": "accept all",
    "authorization": "none",
    "cookie": "yes",
    "author": "Ana Bui 1234",
    "keyboard": "Zq7vN2kd9XwP",
    "tokenizer": "cl100k_base",
    "passenger": "Zq7vN2kd9XwP",
    "pinned": "Zq7vN2kd9XwP",
    "spinner": "Zq7vN2kd9XwP",
    "compass": "Zq7vN2kd9XwP",
    "secretary": "Zq7vN2kd9XwP",
    "passed": 12,
    "pass": 12,
    "remote": "git@github.com:example/project.git",
    "clone": "ssh://git@example.com:22/project.git",
    "to": "bob@example.com",
    "cc": ["ana@example.com", "ngọc.anh+log@mail.example.vn"],
    "text": "the token was refreshed: ok; password: changed by the owner",
    "url": "https://example.com:8443/a@b",
    "sha256": "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
    "id": "0b6a2f9c-7c1f-4b7e-9d0d-5a7f2b1c3d4e",
    "commit": "372b27403d2fb4cd8cbbae1e7c8b7b53a7bb2b40",
    "fields": ["password", "username"],
    "columns": ["token", "created_at"],
    "path": "/usr/lib/python3/token.py",
    "command": "deploy --token-file /run/x --password-stdin",
    "template": "password=$PASSWORD token=${TOKEN} pin=<pin>",
    "base64": "SGVsbG8gd29ybGQsIHRoaXMgaXMganVzdCB0ZXh0IGFuZCBub3RoaW5nIGVsc2U=",
}
"""Members of which nothing is replaced."""

BODY = "MIIEvQIBADANBgkqhkiG9w0BAQ"


def pem(label: str) -> str:
    return f"-----BEGIN {label}-----\n{BODY}\n-----END {label}-----"


WHOLE_SHAPES = {
    "aws-access-token": "AKIA" + "IOSFODNN7EXAMPLQ",
    "aws sts": "ASIA" + "IOSFODNN7EXAMPLQ",
    "gcp-api-key": "AIza" + "Sy" + "A1" * 16 + "b",
    "alibaba-access-key-id": "LTAI" + "a1" * 10,
    "tencent": "AKID" + "a1" * 16,
    "1password-secret-key": "A3-ABC123-ABCDE12345F-ABCDE-FGHIJ-KLMNO",
    "1password-service-account-token": "ops_eyJ" + "a1" * 130,
    "age-secret-key": "AGE-SECRET-KEY-1" + "QP" * 29,
    "private-key": pem("RSA PRIVATE KEY"),
    "private-key (pkcs8)": pem("PRIVATE KEY"),
    "private-key (openssh)": pem("OPENSSH PRIVATE KEY"),
    "private-key (pgp)": pem("PGP PRIVATE KEY BLOCK"),
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVPmB92K27uhbUJU1p1r",
    "github-pat": "ghp_" + "a1" * 18,
    "github-oauth": "gho_" + "a1" * 18,
    "github-app-token": "ghs_" + "a1" * 18,
    "github-refresh-token": "ghr_" + "a1" * 18,
    "github-fine-grained-pat": "github_pat_" + "a1" * 41,
    "gitlab-pat": "glpat-" + "a1" * 10,
    "gitlab-deploy-token": "gldt-" + "a1" * 10,
    "gitlab-runner-authentication-token": "glrt-" + "a1" * 10,
    "npm-access-token": "npm_" + "a1" * 18,
    "pypi-upload-token": "pypi-AgEIcHlwaS5vcmc" + "a1" * 30,
    "rubygems-api-token": "rubygems_" + "a1" * 24,
    "huggingface-access-token": "hf_" + "aB" * 17,
    "openai-api-key": "sk-" + "a1" * 24,
    "openai project": "sk-proj-" + "a1" * 30,
    "anthropic-api-key": "sk-ant-api03-" + "a1" * 46 + "AA",
    "groq": "gsk_" + "a1" * 26,
    "xai": "xai-" + "a1" * 40,
    "perplexity-api-key": "pplx-" + "a1" * 24,
    "replicate": "r8_" + "a1" * 18,
    "nvidia": "nvapi-" + "a1" * 30,
    "langsmith": "lsv2_pt_" + "a1" * 20,
    "tavily": "tvly-dev-" + "a1" * 16,
    "slack-bot-token": "xoxb-1234567890-1234567890-" + "a1" * 12,
    "slack-user-token": "xoxp-1234567890-1234567890-" + "a1" * 16,
    "slack-app-token": "xapp-1-A1-1-" + "a1" * 16,
    "stripe-access-token": "sk_live_" + "a1" * 12,
    "stripe restricted": "rk_test_" + "a1" * 12,
    "stripe webhook": "whsec_" + "a1" * 16,
    "sendgrid-api-token": "SG." + "a1" * 11 + "." + "a1" * 21 + "b",
    "mailgun-private-api-token": "key-" + "a1" * 16,
    "digitalocean-pat": "dop_v1_" + "a1" * 32,
    "digitalocean-access-token": "doo_v1_" + "a1" * 32,
    "digitalocean-refresh-token": "dor_v1_" + "a1" * 32,
    "databricks-api-token": "dapi" + "a1" * 16,
    "vault-service-token": "hvs." + "a1" * 45,
    "vault-batch-token": "hvb." + "a1" * 70,
    "doppler-api-token": "dp.pt." + "a1" * 21 + "b",
    "shopify-access-token": "shpat_" + "a1" * 16,
    "shopify-shared-secret": "shpss_" + "a1" * 16,
    "square-access-token": "sq0atp-" + "a1" * 11,
    "linear-api-key": "lin_api_" + "a1" * 20,
    "notion-api-token": "ntn_" + "12" * 5 + "1" + "aB" * 17,
    "figma": "figd_" + "a1" * 20,
    "postman-api-token": "PMAK-" + "a1" * 12 + "-" + "a1" * 17,
    "grafana-service-account-token": "glsa_" + "a1" * 20,
    "grafana-cloud-api-token": "glc_" + "a1" * 20,
    "new-relic-user-api-key": "NRAK-" + "A1" * 13 + "B",
    "docker": "dckr_pat_" + "a1" * 13,
    "hashicorp-tf-api-token": "a1" * 7 + ".atlasv1." + "a1" * 32,
    "pulumi-api-token": "pul-" + "a1" * 20,
    "sentry-org-token": "sntrys_eyJ" + "a1" * 40,
    "sentry-user-token": "sntryu_" + "a1" * 32,
    "atlassian-api-token": "ATATT3" + "a1" * 93,
    "artifactory-api-key": "AKCp" + "a1" * 34 + "b",
    "facebook-page-access-token": "EAAC" + "a1" * 60,
    "easypost-api-token": "EZAK" + "a1" * 27,
    "google oauth": "ya29.a0" + "a1" * 30,
    "google refresh": "1//0" + "a1" * 30,
    "google client secret": "GOCSPX-" + "a1" * 14,
    "telegram-bot-api-token": "123456789:AA" + "a1" * 16 + "b",
    "tailscale": "tskey-auth-" + "a1" * 15,
    "discord bot": "MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ." + "a1" * 14,
    "flyio-access-token": "fo1_" + "a1" * 21 + "b",
    "dynatrace-api-token": "dt0c01." + "A1" * 12 + "." + "A1" * 32,
    "clojars-api-token": "CLOJARS_" + "a1" * 30,
    "duffel-api-token": "duffel_live_" + "a1" * 21 + "b",
    "flutterwave-secret-key": "FLWSECK_TEST-" + "a1" * 16 + "-X",
    "hubspot": "pat-na1-" + "a1" * 18,
    "supabase": "sbp_" + "a1" * 20,
    "netlify": "nfp_" + "a1" * 18,
    "posthog": "phx_" + "a1" * 20,
    "bearer": "Bearer " + "t0" * 12,
    "basic": "Basic " + "dXNlcjpwYXNzd29yZA" * 2,
}
"""Texts that are replaced whole wherever they stand, by kind; the kind is gitleaks' where it has one."""

PARTS_FOUND = [
    ("https://ana:%s@example.com/x", "a password in a URL"),
    ("postgresql://app:%s@db:5432/prod", "a password in a database's URL"),
    ("redis://:%s@cache:6379/0", "a password without a user"),
    ("password=%s", "an assignment"),
    ("PASSWORD = '%s'", "an assignment in quotes"),
    ('export DB_PASSWORD="%s"', "a shell's"),
    ("docker run -e API_KEY=%s -p 80:80 image", "an environment variable of a container"),
    ("env=DB_PASSWORD=%s", "an assignment within another"),
    ("mysql --password %s -u root", "an option and its value"),
    ("tool --api-key=%s", "an option with its value"),
    ('{"user": "ana", "password": "%s"}', "JSON in a string"),
    ('{\\"clientSecret\\":\\"%s\\"}', "JSON in a string in a string"),
    ("{'token': '%s'}", "what Python prints of a dict"),
    ("password: %s", "YAML, and logs"),
    ("https://example.com/cb?code=1&access_token=%s&state=2", "a query string"),
    ("curl -H 'Authorization: Bearer %s' https://example.com", "a header of a command"),
    ("X-Api-Key: %s", "a header"),
    ("Cookie: %s; theme=dark", "a header, to the end of its line"),
    ("grant_type=password&client_secret=%s", "a form"),
    ("AccountName=x;AccountKey=%s;EndpointSuffix=y", "a connection string"),
    ('[("Authorization", "%s")]', "a printed pair"),
    ("https://hooks.slack.com/services/T0001/B0001/%s", "the secret part of a webhook"),
]
"""(text with a place for a secret, what it is): the secret is replaced, what stands around it stays."""

MISSED_SHAPES = {
    "The password is Zq7vN2kd9XwP": "a sentence: no name with a value",
    "login ana Zq7vN2kd9XwP": "no name",
    "4b1d" + "a1" * 19: "clickhouse: letters and digits as any hash's",
    "cmVmd" + "a1" * 29 + "b": "artifactory reference token: begins as any base64",
    "xyz8Q~" + "a1" * 16: "azure: no beginning of its own",
    "b_" + "a1" * 22: "beamer: two characters are no beginning",
    "p8e-" + "a1" * 16: "adobe: rare, and as any slug",
    "SK" + "a1" * 16: "twilio: the identifier of a key, not the key",
    "whatever " + "a1" * 20: "entropy alone: commits, digests and ids are evidence",
}
"""Texts that stay, and why."""
