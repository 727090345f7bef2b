# Microsoft Learn, "Authenticate against Azure resources with Azure Arc-enabled servers", "Acquire an access token using REST
# API", Linux, with the address of the variable instead of http://127.0.0.1:40342; the resource is the question's.
CHALLENGE_TOKEN_PATH=$(curl -s -D - -H Metadata:true "$IDENTITY_ENDPOINT?api-version=2019-11-01&resource=$RESOURCE" | grep Www-Authenticate | cut -d "=" -f 2 | tr -d "[:cntrl:]")
CHALLENGE_TOKEN=$(cat $CHALLENGE_TOKEN_PATH)
curl -s -H Metadata:true -H "Authorization: Basic $CHALLENGE_TOKEN" "$IDENTITY_ENDPOINT?api-version=2019-11-01&resource=$RESOURCE"
