// Starts Swagger UI on the contract. In a file of its own, since the page's Content-Security-Policy allows no script within it.
fetch("openapi.json")
  .then((response) => response.json())
  .then((contract) =>
    SwaggerUIBundle({
      dom_id: "#reference",
      spec: { ...contract, servers: [{ url: "." }] }, // requests go to this service, and to no other
      validatorUrl: null, // nobody else is asked whether the contract is valid
      persistAuthorization: false, // a key is forgotten with the page
      tryItOutEnabled: true,
      displayRequestDuration: true,
      deepLinking: true,
    }),
  );
