# Microsoft Learn, "OAuth 2.0 client credentials flow on the Microsoft identity platform", "Third case: Access token request with a
# federated credential"; the assertion is the pod's file.
curl -s -X POST -H "Content-Type: application/x-www-form-urlencoded" -d "scope=$RESOURCE%2F.default&client_id=$CLIENT_ID&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=$(cat "$AZURE_FEDERATED_TOKEN_FILE")&grant_type=client_credentials" "${AZURE_AUTHORITY_HOST}$AZURE_TENANT_ID/oauth2/v2.0/token"
