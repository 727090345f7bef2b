# Microsoft Learn, "How to use managed identities for App Service and Azure Functions", "Connect to Azure services in app code",
# HTTP GET; the resource and a selector as its table of parameters says.
curl -s -H "X-IDENTITY-HEADER: $IDENTITY_HEADER" "$IDENTITY_ENDPOINT?resource=$RESOURCE&api-version=2019-08-01$SELECTOR"
