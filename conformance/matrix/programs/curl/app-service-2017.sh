# The same page in its form for api-version 2017-09-01, where the variables were MSI_ENDPOINT and MSI_SECRET.
curl -s -H "Secret: $IDENTITY_HEADER" "$IDENTITY_ENDPOINT?resource=$RESOURCE&api-version=2017-09-01$SELECTOR"
