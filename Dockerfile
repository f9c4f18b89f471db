# The service alone, as production runs it. Not built on the machines that build this project: they have no Docker engine.
FROM node:26-bookworm-slim AS packages
WORKDIR /app
COPY package.json package-lock.json ./
COPY gen/package.json gen/
COPY admin-web/package.json admin-web/
RUN npm ci --omit=dev

FROM packages AS panel
RUN npm ci
COPY gen gen
COPY admin-web admin-web
RUN npm run build --workspace admin-web

FROM node:26-bookworm-slim
WORKDIR /app
COPY --from=packages /app/node_modules node_modules
COPY package.json ./
COPY gen gen
COPY src src
COPY --from=panel /app/admin-web/dist admin-web/dist
# Where docker-compose.yml mounts volumes: a new volume takes its owner from here.
RUN install -d -o node -g node /data /keys
USER node
EXPOSE 8080 50051
# Without npm in between, so that SIGTERM reaches the service and calls under way are finished.
CMD ["node", "src/main.ts"]
